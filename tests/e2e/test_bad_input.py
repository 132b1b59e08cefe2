"""Tests for callbacks that cannot be read: a fixed status and body, no traceback, and no effect on other messages."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from maven_channel_wecom.protocol import cipher, signature
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.callbacks import seal_callback
from maven_channel_wecom.simulator.messages import Text
from tests.e2e.deployment import Deployment, assert_still_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.simulator.http_client import HttpAnswer
    from tests.e2e.watch import Watch

HEAD = bytes(16)


def signed(token: str, encrypted: str) -> tuple[str, bytes]:
    """Return the query and body of a callback with a valid signature over `encrypted`."""
    timestamp, nonce = str(int(time.time())), "nonce1"
    query = {
        "msg_signature": signature.sign(token, timestamp, nonce, encrypted),
        "timestamp": timestamp,
        "nonce": nonce,
    }
    return urlencode(query), json.dumps({"encrypt": encrypted}).encode()


def sealed_frame(key: bytes, frame: bytes) -> str:
    return base64.b64encode(cipher.encrypt(key, frame)).decode()


UNDECIPHERABLE: dict[str, Callable[[bytes], str]] = {
    "not base64": lambda _key: "!!!! not base64 !!!!",
    "base64 without its padding": lambda key: sealed_frame(key, HEAD + b"\0\0\0\0").rstrip("=") + "A",
    "nothing": lambda _key: "",
    "not a whole block": lambda _key: base64.b64encode(bytes(33)).decode(),
    "another key": lambda key: sealed_frame(key[::-1], HEAD + b"\0\0\0\2{}"),
    "wrong padding": lambda _key: base64.b64encode(bytes(64)).decode(),
    "a frame too short": lambda key: sealed_frame(key, b"short"),
    "a length past the end": lambda key: sealed_frame(key, HEAD + b"\xff\xff\xff\xff{}"),
    "a message that is not UTF-8": lambda key: sealed_frame(key, HEAD + b"\0\0\0\2\xff\xfe"),
    "a receive id that is not UTF-8": lambda key: sealed_frame(key, HEAD + b"\0\0\0\2{}\xff"),
}
MALFORMED_PLAINTEXT = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"not json",
    b'{"msgid":"m"}',
    b'{"msgtype":"text"}',
    b'{"msgid":"","msgtype":"text"}',
    b"[" * 100_000,
    b'{"msgid":' * 50_000,
]

ODD_PLAINTEXT = [
    b'{"msgid":"m","msgtype":"text"}',
    b'{"msgid":"m","msgtype":"text","text":"bare"}',
    b'{"msgid":"m","msgtype":"image","from":{"userid":"a"}}',
    b'{"msgid":"m","msgtype":"mixed","mixed":{"msg_item":{}}}',
    b'{"msgid":"m","msgtype":"event","from":{"userid":"a"}}',
    b'{"msgid":"m","msgtype":"text","from":7,"text":{"content":"x"}}',
    b'{"msgid":"m","msgtype":"voice","from":{"userid":"a"},"voice":{"content":null}}',
    b'{"msgid":"m","msgtype":"text","from":{"userid":"a"},"text":{"content":"x"},"image":"","create_time":""}',
]


async def post(deployment: Deployment, query: str, body: bytes, **headers: str) -> HttpAnswer:
    return await deployment.wecom.request("POST", query=query, body=body, headers=headers)


@pytest.mark.parametrize("make", UNDECIPHERABLE.values(), ids=list(UNDECIPHERABLE))
async def test_every_undecipherable_callback_gets_the_same_answer(watch: Watch, make: Callable[[bytes], str]) -> None:
    """The signature is valid each time; status and body do not reveal which check failed."""
    async with Deployment(watch) as deployment:
        answer = await post(deployment, *signed(deployment.bot.token, make(deployment.wecom.credentials.key)))
        assert (answer.status, answer.body) == (400, b"bad request")
        assert await deployment.metric("callbacks_total", kind="message", outcome="undecipherable") == 1
        assert [fields["reason"] for fields in watch.logged("wecom callback rejected")] == ["undecipherable"]
        await assert_still_answers(deployment)


@pytest.mark.parametrize("opened", MALFORMED_PLAINTEXT, ids=range(len(MALFORMED_PLAINTEXT)))
async def test_a_sealed_callback_of_the_wrong_shape_is_400(watch: Watch, opened: bytes) -> None:
    """Status and body are those of an undecipherable callback."""
    async with Deployment(watch) as deployment:
        request = seal_callback(
            opened, deployment.wecom.credentials, receive_id="", timestamp=int(time.time()), random=os.urandom
        )
        answer = await post(deployment, request.query, request.body)
        assert (answer.status, answer.body) == (400, b"bad request")
        assert await deployment.metric("callbacks_total", kind="message", outcome="malformed") == 1
        await assert_still_answers(deployment)


@pytest.mark.parametrize("opened", ODD_PLAINTEXT, ids=range(len(ODD_PLAINTEXT)))
async def test_a_callback_with_an_odd_field_is_acknowledged(watch: Watch, opened: bytes) -> None:
    async with Deployment(watch) as deployment:
        request = seal_callback(
            opened, deployment.wecom.credentials, receive_id="", timestamp=int(time.time()), random=os.urandom
        )
        assert (await post(deployment, request.query, request.body)).status == 200
        await assert_still_answers(deployment)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"{}", "malformed"),
        (b"[]", "malformed"),
        (b'{"encrypt":5}', "malformed"),
        (b"\xff\xfe\x00", "malformed"),
        (b"{" * 200_000, "malformed"),
        (b"<xml><Encrypt>x</Encrypt></xml>", "xml"),
    ],
    ids=["empty", "no field", "a list", "a number", "not UTF-8", "deep", "xml"],
)
async def test_a_body_that_is_not_an_envelope_is_400(watch: Watch, body: bytes, reason: str) -> None:
    """XML has a reason of its own, because WeCom sends it when the URL was entered for a self-built app."""
    async with Deployment(watch) as deployment:
        query, _ = signed(deployment.bot.token, "x")
        answer = await post(deployment, query, body)
        assert (answer.status, answer.body) == (400, b"bad request")
        assert await deployment.metric("callbacks_total", kind="message", outcome=reason) == 1
        await assert_still_answers(deployment)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "timestamp=1800000000&nonce=n&echostr=x",
        "msg_signature=s&nonce=n&echostr=x",
        "msg_signature=s&timestamp=1800000000&echostr=x",
        "msg_signature=s&timestamp=18e8&nonce=n&echostr=x",
        "msg_signature=s&timestamp=1800000000&nonce=n%00&echostr=x",
        "%FF%FE=%ZZ&&&=",
    ],
    ids=["none", "signature", "timestamp", "nonce", "timestamp not a number", "control characters in nonce", "garbage"],
)
async def test_a_query_with_missing_or_invalid_parameters_is_400(watch: Watch, method: str, query: str) -> None:
    async with Deployment(watch) as deployment:
        answer = await deployment.wecom.request(
            method, query=query, body=b'{"encrypt":"x"}' if method == "POST" else b""
        )
        assert (answer.status, answer.body) == (400, b"bad request")
        await assert_still_answers(deployment)


async def test_a_wrong_signature_is_401(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        wrong_token = Credentials("another-token", deployment.wecom.credentials.key)
        sent = await deployment.send(Text("with a wrong token"), credentials=wrong_token)
        assert sent.status == 401
        query, body = signed(deployment.bot.token, "AAAA")
        changed = [
            await post(deployment, query, body.replace(b"AAAA", b"AAAB")),
            await post(deployment, query.replace("nonce1", "nonce2"), body),
            await post(deployment, query.replace("msg_signature=", "msg_signature=%C3%A9"), body),
            await deployment.wecom.request("GET", query=query + "&echostr=AAAB"),
        ]
        assert [(answer.status, answer.body) for answer in changed] == [(401, b"unauthorized")] * 4
        assert await deployment.metric("callbacks_total", kind="message", outcome="signature") == 4
        assert await deployment.metric("callbacks_total", kind="verify", outcome="signature") == 1
        await assert_still_answers(deployment)


async def test_a_callback_for_another_receiver_is_400(watch: Watch) -> None:
    """Status and body are those of an undecipherable callback."""
    async with Deployment(watch, receive_id="ww-this-company") as deployment:
        opened = b'{"msgid":"m","msgtype":"text","text":{"content":"not for this company"}}'
        request = seal_callback(
            opened, deployment.wecom.credentials, receive_id="ww-other", timestamp=int(time.time()), random=os.urandom
        )
        answer = await post(deployment, request.query, request.body)
        assert (answer.status, answer.body) == (400, b"bad request")
        assert await deployment.metric("callbacks_total", kind="message", outcome="receiver") == 1
        await assert_still_answers(deployment)


@pytest.mark.parametrize("skew_seconds", [-61, 61], ids=["old", "from the future"])
async def test_a_callback_beyond_max_skew_seconds_is_401(watch: Watch, skew_seconds: int) -> None:
    """Without `maxSkewSeconds`, a callback of any age is accepted."""
    opened = b'{"msgid":"m","msgtype":"text","from":{"userid":"a"},"text":{"content":"at the wrong time"}}'
    for settings, status in (({"maxSkewSeconds": 60}, 401), ({"maxSkewSeconds": 3600}, 200), ({}, 200)):
        async with Deployment(watch, settings) as deployment:
            request = seal_callback(
                opened,
                deployment.wecom.credentials,
                receive_id="",
                timestamp=int(time.time()) + skew_seconds,
                random=os.urandom,
            )
            answer = await post(deployment, request.query, request.body)
            assert answer.status == status
            assert await deployment.metric("callbacks_total", kind="message", outcome="stale") == (status == 401)
            if status == 200:
                await deployment.auditor.receipt_for("m")
            await assert_still_answers(deployment)


async def test_every_genuine_message_among_bad_requests_is_answered(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        token, key = deployment.bot.token, deployment.wecom.credentials.key
        bad = [
            *(post(deployment, *signed(token, make(key))) for make in UNDECIPHERABLE.values() for _ in range(4)),
            *(post(deployment, "", os.urandom(200)) for _ in range(40)),
            *(post(deployment, *signed("another-token", "AAAA")) for _ in range(40)),
        ]
        genuine = [deployment.send(Text(f"a genuine message {number}")) for number in range(40)]
        sent = await asyncio.gather(*genuine)
        statuses = {answer.status for answer in await asyncio.gather(*bad)}
        await asyncio.gather(*(each.reply() for each in sent))
        assert statuses == {400, 401}
        assert all(each.acknowledged for each in sent)
        assert {
            reply.message_id for reply in deployment.wecom.recorded.replies
        } == deployment.wecom.recorded.acknowledged_ids
        assert watch.tracebacks == []
