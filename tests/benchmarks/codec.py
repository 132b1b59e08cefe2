"""What each step of an ordinary callback costs, from the query to the sealed acknowledgement, without HTTP."""

from __future__ import annotations

import binascii
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec
from maven_channel_wecom.state.port import KeptCallback

from maven_channel_wecom.policy.reply_window import open_window
from maven_channel_wecom.protocol import envelope, limits, signature
from maven_channel_wecom.protocol.callback import read_callback
from maven_channel_wecom.state.memory import MemoryStateStore
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
    """Return microseconds of each step, and of all steps together."""
    bot = Bot()
    rounds: dict[str, list[float]] = {}
    with pinned(server_core()):
        for number in range(scale.rounds):
            sealed = [bot.seal() for _ in range(scale.messages)]
            for name, step, given in _steps(bot, sealed):
                rounds.setdefault(name, []).append(_microseconds(step, given))
            scale.tell(f"round {number + 1} of {scale.rounds}")
    return {name: {"CPU each": figure(found, "µs")} for name, found in rounds.items()}


def _microseconds(step: Callable[..., object], given: Sequence[object]) -> float:
    """Return what a step costs on average, the call itself included."""
    began = time.thread_time()
    for each in given:
        step(each)
    return (time.thread_time() - began) / len(given) * 1e6


def _steps(bot: Bot, sealed: Sequence[SealedRequest]) -> list[tuple[str, Callable[..., object], Sequence[object]]]:
    credentials = bot.credentials
    state = MemoryStateStore()
    now = time.time()
    queries = [dict(parse_qsl(each.query)) for each in sealed]
    signed = [envelope.read_query(query) for query in queries]
    bodies = [each.body for each in sealed]
    ciphertexts = [envelope.read_body(body) for body in bodies]
    encrypted = [binascii.a2b_base64(ciphertext) for ciphertext in ciphertexts]
    frames = [credentials.cipher.decrypt(each) for each in encrypted]
    messages = [envelope._unframe(frame)[0] for frame in frames]
    callbacks = [read_callback(message) for message in messages]
    admitted = [
        (KeptCallback(callback.message_id, callback.chat_id, now, message), open_window(callback, now), now)
        for callback, message in zip(callbacks, messages, strict=True)
    ]
    signed_texts = list(zip(signed, ciphertexts, strict=True))

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

    def whole(given: tuple[MemoryStateStore, dict[str, str], bytes]) -> bytes:
        elsewhere, fields, body = given
        query = envelope.read_query(fields)
        opened = envelope.open_envelope((credentials,), query, envelope.read_body(body))
        callback = read_callback(opened.message)
        kept = KeptCallback(callback.message_id, callback.chat_id, now, opened.message)
        assert elsewhere.admit(kept, open_window(callback, now), now)
        return seal(query.nonce)

    elsewhere = MemoryStateStore()
    everything = [(elsewhere, query, body) for query, body in zip(queries, bodies, strict=True)]
    assert all(check(each) for each in signed_texts)
    return [
        ("query", envelope.read_query, queries),
        ("body", envelope.read_body, bodies),
        ("signature", check, signed_texts),
        ("base64", binascii.a2b_base64, ciphertexts),
        ("decrypt", credentials.cipher.decrypt, encrypted),
        ("unframe", envelope._unframe, frames),
        ("JSON", read_callback, messages),
        ("admit (memory:)", lambda given: state.admit(*given), admitted),
        ("seal", seal, [query.nonce for query in signed]),
        (WHOLE, whole, everything),
    ]
