"""Callbacks that are none: a fixed status, one dull body, no traceback, and no harm to anybody's message."""

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
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.simulator.sending import HttpAnswer
    from tests.e2e.watch import Watch

HEAD = bytes(16)


def signed(token: str, encrypted: str, *, timestamp: str = "", nonce: str = "nonce1") -> tuple[str, bytes]:
    """Return query and body of a callback whose signature holds, whatever it carries."""
    timestamp = timestamp or str(int(time.time()))
    query = {
        "msg_signature": signature.sign(token, timestamp, nonce, encrypted),
        "timestamp": timestamp,
        "nonce": nonce,
    }
    return urlencode(query), json.dumps({"encrypt": encrypted}).encode()


def sealed_frame(key: bytes, frame: bytes) -> str:
    return base64.b64encode(cipher.encrypt(key, frame)).decode()


UNDECIPHERABLE: dict[str, Callable[[bytes], str]] = {
    "no base64": lambda _key: "!!!! not base64 !!!!",
    "base64 without its padding": lambda key: sealed_frame(key, HEAD + b"\0\0\0\0").rstrip("=") + "A",
    "nothing": lambda _key: "",
    "no whole block": lambda _key: base64.b64encode(bytes(33)).decode(),
    "another key": lambda key: sealed_frame(key[::-1], HEAD + b"\0\0\0\2{}"),
    "wrong padding": lambda _key: base64.b64encode(bytes(64)).decode(),
    "a frame too short": lambda key: sealed_frame(key, b"short"),
    "a length past the end": lambda key: sealed_frame(key, HEAD + b"\xff\xff\xff\xff{}"),
    "a message that is no UTF-8": lambda key: sealed_frame(key, HEAD + b"\0\0\0\2\xff\xfe"),
    "a receive id that is no UTF-8": lambda key: sealed_frame(key, HEAD + b"\0\0\0\2{}\xff"),
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
    b'{"msgid":"m","msgtype":"text"}',
    b'{"msgid":"m","msgtype":"text","text":"bare"}',
    b'{"msgid":"m","msgtype":"image","from":{"userid":"a"}}',
    b'{"msgid":"m","msgtype":"mixed","mixed":{"msg_item":{}}}',
    b'{"msgid":"m","msgtype":"event","from":{"userid":"a"}}',
    b'{"msgid":"m","msgtype":"text","from":7,"text":{"content":"x"}}',
    b"[" * 100_000,
    b'{"msgid":' * 50_000,
]


async def post(deployment: Deployment, query: str, body: bytes, **headers: str) -> HttpAnswer:
    return await deployment.wecom.request("POST", query=query, body=body, headers=headers)


async def assert_still_answers(deployment: Deployment) -> None:
    """After all that, a real message is answered as ever, and nothing was worth a traceback."""
    assert await deployment.ask("an honest message after it") == "an honest message after it"
    assert deployment.watch.tracebacks == []


@pytest.mark.parametrize("make", UNDECIPHERABLE.values(), ids=list(UNDECIPHERABLE))
async def test_everything_undecipherable_gets_one_dull_answer(watch: Watch, make: Callable[[bytes], str]) -> None:
    """Status 400 and the same body, though the signature held: nobody learns which step failed."""
    async with Deployment(watch) as deployment:
        answer = await post(deployment, *signed(deployment.bot.token, make(deployment.wecom.credentials.key)))
        assert (answer.status, answer.body) == (400, b"bad request")
        assert await deployment.metric("callbacks_total", kind="message", outcome="undecipherable") == 1
        assert [fields["reason"] for fields in watch.logged("wecom callback rejected")] == ["undecipherable"]
        await assert_still_answers(deployment)


@pytest.mark.parametrize("opened", MALFORMED_PLAINTEXT, ids=range(len(MALFORMED_PLAINTEXT)))
async def test_a_sealed_callback_of_the_wrong_shape_is_400(watch: Watch, opened: bytes) -> None:
    """With the very body of an undecipherable one."""
    async with Deployment(watch) as deployment:
        request = seal_callback(
            opened, deployment.wecom.credentials, receive_id="", timestamp=int(time.time()), random=os.urandom
        )
        answer = await post(deployment, request.query, request.body)
        assert (answer.status, answer.body) == (400, b"bad request")
        assert await deployment.metric("callbacks_total", kind="message", outcome="malformed") == 1
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
    ids=["empty", "no field", "a list", "a number", "no text", "deep", "xml"],
)
async def test_a_body_that_is_no_envelope_is_400(watch: Watch, body: bytes, reason: str) -> None:
    """An XML body has a reason of its own: the URL was entered at a self-built app."""
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
    ids=["none", "signature", "timestamp", "nonce", "timestamp no number", "nonce of control characters", "garbage"],
)
async def test_a_query_without_its_parameters_is_400(watch: Watch, method: str, query: str) -> None:
    """For the URL check and for callbacks alike."""
    async with Deployment(watch) as deployment:
        answer = await deployment.wecom.request(
            method, query=query, body=b'{"encrypt":"x"}' if method == "POST" else b""
        )
        assert (answer.status, answer.body) == (400, b"bad request")
        await assert_still_answers(deployment)


async def test_a_wrong_signature_is_401(watch: Watch) -> None:
    """Another token, a changed body, a changed nonce; for the URL check too."""
    async with Deployment(watch) as deployment:
        stranger = Credentials("another-token", deployment.wecom.credentials.key)
        sent = await deployment.send(Text("from somebody else"), credentials=stranger)
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
    """Opened, and meant for somebody else; the answer says no more than to garbage."""
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
async def test_a_stale_callback_is_401_where_a_limit_is_set(watch: Watch, skew_seconds: int) -> None:
    """Within the limit it is taken, and without one every age is."""
    opened = b'{"msgid":"m","msgtype":"text","from":{"userid":"a"},"text":{"content":"out of its time"}}'
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


async def test_nothing_that_was_acknowledged_is_lost_among_garbage(watch: Watch) -> None:
    """Forty real messages between a hundred and twenty bad ones, all at once: every one of the forty is answered."""
    async with Deployment(watch) as deployment:
        token, key = deployment.bot.token, deployment.wecom.credentials.key
        bad = [
            *(post(deployment, *signed(token, make(key))) for make in UNDECIPHERABLE.values() for _ in range(4)),
            *(post(deployment, "", os.urandom(200)) for _ in range(40)),
            *(post(deployment, *signed("another-token", "AAAA")) for _ in range(40)),
        ]
        good = [deployment.send(Text(f"an honest message {number}")) for number in range(40)]
        sent = await asyncio.gather(*good)
        statuses = {answer.status for answer in await asyncio.gather(*bad)}
        await asyncio.gather(*(each.reply() for each in sent))
        assert statuses == {400, 401}
        assert all(each.acknowledged for each in sent)
        assert {
            reply.message_id for reply in deployment.wecom.recorded.replies
        } == deployment.wecom.recorded.acknowledged_ids
        assert watch.tracebacks == []
