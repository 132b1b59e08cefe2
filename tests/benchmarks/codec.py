"""CPU time of each operation of the codec, from a callback's query string to the sealed acknowledgement."""

from __future__ import annotations

import binascii
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from maven_channel_wecom.protocol import envelope, limits, signature
from maven_channel_wecom.protocol.callback import read_callback
from tests.benchmarks.figures import figure
from tests.benchmarks.load import pinned, server_core
from tests.benchmarks.sealing import Bot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.simulator.callbacks import SealedRequest
    from tests.benchmarks.figures import Rows
    from tests.benchmarks.scale import Scale

WHOLE = "all of it, one after another"


def measure(scale: Scale) -> Rows:
    """Return the microseconds that each operation takes, and all of them together."""
    bot = Bot()
    rounds: dict[str, list[float]] = {}
    with pinned(server_core()):
        for number in range(scale.rounds):
            sealed = [bot.seal() for _ in range(scale.messages)]
            for name, operation, inputs in _operations(bot, sealed):
                rounds.setdefault(name, []).append(_microseconds(operation, inputs))
            scale.report(f"round {number + 1} of {scale.rounds}")
    return {name: {"CPU each": figure(found, "µs")} for name, found in rounds.items()}


def _microseconds(operation: Callable[..., object], inputs: Sequence[object]) -> float:
    """Return the average CPU time of an operation, including the function call."""
    began = time.thread_time()
    for each in inputs:
        operation(each)
    return (time.thread_time() - began) / len(inputs) * 1e6


def _operations(bot: Bot, sealed: Sequence[SealedRequest]) -> list[tuple[str, Callable[..., object], Sequence[object]]]:
    """Return each operation with its label and its inputs."""
    credentials = bot.credentials
    now = time.time()
    queries = [dict(parse_qsl(each.query)) for each in sealed]
    signed = [envelope.read_query(query) for query in queries]
    bodies = [each.body for each in sealed]
    ciphertexts = [envelope.read_body(body) for body in bodies]
    encrypted = [binascii.a2b_base64(ciphertext) for ciphertext in ciphertexts]
    signed_texts = list(zip(signed, ciphertexts, strict=True))
    messages = [envelope.open_envelope((credentials,), query, text).message for query, text in signed_texts]

    def check(given: tuple[envelope.SignedQuery, str]) -> bool:
        query, ciphertext = given
        return signature.matches(
            query.signature,
            token=credentials.token,
            timestamp=query.timestamp,
            nonce=query.nonce,
            ciphertext=ciphertext,
        )

    def seal(nonce: str) -> bytes:
        acknowledgement = envelope.seal(
            credentials,
            b'"success"',
            receive_id="",
            timestamp=int(now),
            nonce=nonce,
            random=os.urandom(limits.FRAME_RANDOM_BYTES),
        )
        return msgspec.json.encode(acknowledgement)

    def whole(given: tuple[dict[str, str], bytes]) -> bytes:
        fields, body = given
        query = envelope.read_query(fields)
        read_callback(envelope.open_envelope((credentials,), query, envelope.read_body(body)).message)
        return seal(query.nonce)

    assert all(check(each) for each in signed_texts)
    return [
        ("query", envelope.read_query, queries),
        ("body", envelope.read_body, bodies),
        ("signature", check, signed_texts),
        ("base64", binascii.a2b_base64, ciphertexts),
        ("decrypt", credentials.cipher.decrypt, encrypted),
        ("JSON", read_callback, messages),
        ("seal", seal, [query.nonce for query in signed]),
        (WHOLE, whole, list(zip(queries, bodies, strict=True))),
    ]
