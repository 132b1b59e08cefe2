"""The server WeCom calls, seen from the wire: limits, dull answers, and what becomes of a body."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.transport.callback_answer import CallbackAnswer, dull_answer
from maven_channel_wecom.transport.callback_server import BODY_BYTES, CallbackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

WAIT_SECONDS = 5
POST = b"POST /wecom/bot?a=b HTTP/1.1\r\nHost: x\r\n"


class Receiver:
    """Reads every body, and remembers what came of it."""

    def __init__(self) -> None:
        self.bodies: asyncio.Queue[bytes | MalformedCallback] = asyncio.Queue()
        self.queries: list[Mapping[str, str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def receive(
        self, method: str, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]
    ) -> CallbackAnswer:
        self.queries.append(dict(query))
        try:
            body = await read_body()
        except MalformedCallback as malformed:
            self.bodies.put_nowait(malformed)
            return dull_answer(malformed.status)
        self.bodies.put_nowait(body)
        await self.may_answer.wait()
        return CallbackAnswer(status=200, body=f"{method} {len(body)}".encode())

    def receive_ordinary(self, query: bytes, body: bytes) -> CallbackAnswer:
        self.queries.append(dict(parse_qsl(query.decode())))
        self.bodies.put_nowait(body)
        return CallbackAnswer(status=200, body=f"POST {len(body)}".encode())


Serving = Callable[[], AbstractAsyncContextManager[tuple[Receiver, int]]]


@pytest.fixture(params=[True, False], ids=["short", "long"])
def serving(request: pytest.FixtureRequest) -> Serving:
    """Return what starts a server: with and without the short path, nobody can tell the difference."""
    return partial(_serving, short_path=request.param)


@asynccontextmanager
async def _serving(*, short_path: bool) -> AsyncIterator[tuple[Receiver, int]]:
    receiver = Receiver()
    server = CallbackServer(
        receiver, host="127.0.0.1", port=0, path="/wecom/bot", dropped=lambda _reason: None, short_path=short_path
    )
    port = await server.start()
    try:
        yield receiver, port
    finally:
        await server.stop()


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return what comes back until there is a whole answer without a body left to come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(WAIT_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    writer.close()
    return head + body


async def test_a_request_is_handed_on_with_its_query_decoded_once(serving: Serving) -> None:
    """A percent sign that was sent as one stays one."""
    async with serving() as (receiver, port):
        answer = await exchange(port, b"GET /wecom/bot?echostr=a%2Bb%252F HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nGET 0")
        assert receiver.queries == [{"echostr": "a+b%2F"}]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"404", id="another-path"),
        pytest.param(b"GET /wecom/bot/ HTTP/1.1\r\nHost: x\r\n\r\n", b"404", id="a-slash-too-much"),
        pytest.param(b"canary\r\n\r\n", b"400", id="no-http"),
        pytest.param(b"GET /wecom/bot HTTP/1.1\r\ncanary\r\n\r\n", b"400", id="no-header"),
        pytest.param(b"GET /wecom/bot?canary HTTP/9.9.9\r\n\r\n", b"400", id="no-version"),
        pytest.param(POST + b"Content-Length: canary\r\n\r\n", b"400", id="no-length"),
        pytest.param(POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400", id="two-lengths"),
    ],
)
async def test_what_is_not_answered_is_refused_without_a_word(
    serving: Serving, request_bytes: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the request nor the software behind the port is named, and nothing is logged."""
    async with serving() as (receiver, port):
        answer = await exchange(port, request_bytes)
    assert answer.split(b" ", 2)[1] == status
    assert b"canary" not in answer
    assert b"Server: maven\r\n" in answer
    assert b"ython" not in answer
    assert receiver.queries == []
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_a_body_of_exactly_the_limit_is_read(serving: Serving) -> None:
    """The limit belongs to it."""
    async with serving() as (_, port):
        answer = await exchange(port, POST + b"Content-Length: %d\r\n\r\n" % BODY_BYTES + bytes(BODY_BYTES))
    assert answer.endswith(b"POST %d" % BODY_BYTES)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1), id="said-in-advance"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + bytes(65536) + b"\r\n") * 17, id="in-chunks"
        ),
    ],
)
async def test_a_larger_body_is_refused_and_not_waited_for(serving: Serving, rest: bytes) -> None:
    """A body announced as too large is not even begun."""
    async with serving() as (receiver, port):
        answer = await exchange(port, POST + rest)
        refused = await receiver.bodies.get()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert isinstance(refused, MalformedCallback)
    assert refused.reason == "too_large"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(POST + b"Content-Length: 10\r\n\r\nabc", id="hung-up"),
        pytest.param(POST + b"Content-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc", id="not-what-it-says"),
    ],
)
async def test_a_body_that_breaks_off_is_a_malformed_callback(serving: Serving, request_bytes: bytes) -> None:
    """Not a traceback, and not a body cut short."""
    async with serving() as (receiver, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        await writer.drain()
        writer.close()
        async with asyncio.timeout(WAIT_SECONDS):
            broken = await receiver.bodies.get()
    assert isinstance(broken, MalformedCallback)
    assert broken.reason == "aborted"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(b"", id="alone"),
        pytest.param(POST + b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", id="behind-another"),
    ],
)
@pytest.mark.parametrize(
    "chunks", [b"canary\r\n", b"1\r\na\r\n" * 30 + b"canary\r\n", b"1\r\nabcanary"], ids=["first", "last", "too-long"]
)
async def test_a_body_of_broken_chunks_is_refused_at_once(serving: Serving, before: bytes, chunks: bytes) -> None:
    """With one answer, after which nothing is read: what comes next might be the rest of it, or a request."""
    async with serving() as (receiver, port), asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(before + POST + b"Transfer-Encoding: chunked\r\n\r\n")
        while len(receiver.queries) < 1 + bool(before):  # noqa: ASYNC110 - nothing tells that the body is waited for
            await asyncio.sleep(0)
        writer.write(chunks + POST + b"Content-Length: 2\r\n\r\n{}")
        answers = await reader.read()
        if before:
            assert await receiver.bodies.get() == b"{}"
        broken = receiver.bodies.get_nowait()
        assert isinstance(broken, MalformedCallback)
        assert broken.reason == "aborted"
        assert receiver.bodies.empty()
        assert answers.count(b"HTTP/1.1 ") == 1 + bool(before)
        assert answers.split(b"HTTP/1.1 ")[-1].startswith(b"400 ")
        writer.close()


async def test_broken_chunks_behind_a_request_being_answered_are_refused_at_once(serving: Serving) -> None:
    """Nobody waits for their body yet."""
    async with serving() as (receiver, port), asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        receiver.may_answer.clear()
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        assert await receiver.bodies.get() == b"a"
        for part in (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"canary\r\n"):
            writer.write(part)
            # To be read by itself; what comes in one piece is refused as it is read.
            for _ in range(10):
                await asyncio.sleep(0)
        receiver.may_answer.set()
        answers = await reader.read()
        assert [answer[2:5] for answer in answers.split(b"HTTP/1.")[1:]] == [b"200", b"400"]
        writer.close()


async def test_a_body_of_broken_chunks_leaves_no_frames_behind(serving: Serving) -> None:
    """The parser's error holds all that came, and nobody is told of it."""

    def errors() -> list[HttpProcessingError | web.RequestPayloadError]:
        kinds = (HttpProcessingError, web.RequestPayloadError)
        return [each for each in gc.get_objects() if isinstance(each, kinds)]

    # What other tests left is not looked at, which would take seconds.
    gc.freeze()
    gc.disable()
    try:
        async with serving() as (receiver, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(WAIT_SECONDS):
                writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
                while not receiver.queries:  # noqa: ASYNC110 - nothing tells that the body is waited for
                    await asyncio.sleep(0)
                writer.write(b"1\r\na\r\n" * 30 + b"canary\r\n")
                await receiver.bodies.get()
                writer.close()
        assert [error for error in errors() if error.__traceback__] == []
    finally:
        gc.enable()
        gc.unfreeze()
