"""Tests for the log lines of one message, and for the log during a flood of bad requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING

from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.messages import Image, Text
from maven_channel_wecom.simulator.picture import draw_png
from maven_channel_wecom.telemetry.trail import pseudonym, trail_id
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    import pytest

    from tests.e2e.watch import Watch

BAD_REQUESTS = 10_000
PIPELINED = 10
HEAD = b"POST /wecom/bot?msg_signature=" + b"0" * 40 + b"&timestamp=1700000000&nonce=n HTTP/1.1\r\nHost: x\r\n"
ENDS = (
    HEAD + b"Content-Length: 500\r\n\r\n{",
    HEAD + b"Content-Length: 5000000\r\n\r\n{",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)


async def test_every_log_line_of_a_message_carries_its_trail(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        sent = await deployment.send(Image(draw_png(4, 4)), user="alice")
        await sent.reply()
        await deployment.wait_until_idle()
    trail = trail_id("wecom", sent.message_id)
    assert [event for event, fields in watch.events() if fields.get("trail") == trail] == [
        "wecom callback admitted",
        "wecom media opened",
        "wecom message normalized",
        "wecom message published",
        "wecom reply window claimed",
        "wecom reply attempted",
        "wecom reply delivered",
        "answer delivered",
        "wecom message finished",
    ]
    (admitted,) = watch.logged("wecom callback admitted")
    assert admitted["sender"] == admitted["chat"] == pseudonym("alice")


async def test_the_log_names_neither_users_nor_groups(watch: Watch) -> None:
    watch.register("a user", "user-canary")
    watch.register("a group", "group-canary")
    async with Deployment(watch, {"allowGroups": ["another"]}) as deployment:
        await deployment.send(Text("a word of its own"), user="user-canary", group="group-canary")
        await deployment.ask("another word of its own", user="user-canary")
    assert watch.logged("wecom callback refused")[0]["sender"] == pseudonym("user-canary")


async def test_ten_thousand_bad_requests_leave_few_log_lines(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """Each connection ends badly, and every line that was left out is counted."""
    caplog.set_level(logging.DEBUG)
    settings = {"receiveId": "corp", "maxSkewSeconds": 300, "allowFrom": ["alice"]}
    async with Deployment(watch, settings, receive_id="corp") as deployment:
        kinds = bad_requests(deployment)
        repeats = BAD_REQUESTS // PIPELINED
        async with asyncio.TaskGroup() as flood:
            for number in range(repeats):
                requests = [kinds[(number + place) % len(kinds)] for place in range(PIPELINED)]
                flood.create_task(post_all(deployment.channel().port or 0, requests, ENDS[number % len(ENDS)]))
        await deployment.ask("an honest message after it", user="alice")
        samples = await deployment.metrics()
        bad = sum(
            value
            for (name, labels), value in samples.items()
            if name == "maven_wecom_callbacks_total" and ("outcome", "accepted") not in labels
        )
        assert bad >= BAD_REQUESTS
        assert await deployment.metric("log_lines_suppressed_total") >= BAD_REQUESTS - 100
    lines = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert 10 <= len(lines) <= 100
    assert watch.tracebacks == []


def bad_requests(deployment: Deployment) -> list[bytes]:
    """Return one request of each kind that is rejected or refused at once."""
    now = int(time.time())
    genuine = Credentials(deployment.bot.token, decode_key(deployment.bot.key))
    other_key = Credentials(deployment.bot.token, bytes(32))

    def sealed(credentials: Credentials, text: bytes, *, receive_id: str = "corp", timestamp: int = now) -> bytes:
        seal = envelope.seal(credentials, text, receive_id=receive_id, timestamp=timestamp, nonce="n", random=bytes(16))
        query = f"msg_signature={seal.msgsignature}&timestamp={timestamp}&nonce=n"
        return post(query, json.dumps({"encrypt": seal.encrypt}).encode())

    unlisted = {"msgid": "s", "msgtype": "text", "from": {"userid": "mallory"}, "text": {"content": "x"}}
    unsigned = f"msg_signature={'0' * 40}&timestamp={now}&nonce=n"
    return [
        post("", b"{}"),
        post(unsigned, b"no json"),
        post(unsigned, b"<xml><Encrypt>x</Encrypt></xml>"),
        post(unsigned, b'{"encrypt": "bm9uc2Vuc2U="}'),
        sealed(other_key, b"{}"),
        sealed(genuine, b"{}", receive_id="another"),
        sealed(genuine, b"{}", timestamp=now - 4_000),
        sealed(genuine, b"no json"),
        sealed(genuine, json.dumps(unlisted | {"chattype": "single"}).encode()),
        b"PUT /wecom/bot HTTP/1.1\r\nHost: x\r\n\r\n",
    ]


def post(query: str, body: bytes) -> bytes:
    head = f"POST /wecom/bot?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def post_all(port: int, requests: list[bytes], end: bytes) -> None:
    """Send pipelined requests, read the answers, and end with `end`, which is a truncated body or not HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests))
    async with asyncio.timeout(60):
        for _ in requests:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]))
    writer.write(end)
    await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
