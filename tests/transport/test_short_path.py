"""What is an ordinary callback, and that nobody can tell who answered it."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.later import Later
from maven_channel_wecom.transport.callback_answer import CallbackAnswer, dull_answer
from maven_channel_wecom.transport.callback_server import CallbackServer
from maven_channel_wecom.transport.connection import Connection
from maven_channel_wecom.transport.short_path import HEAD_BYTES, ShortPath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

WAIT_SECONDS = 5
QUERY = b"msg_signature=a&timestamp=1&nonce=b"
LINE = b"POST /wecom/bot?" + QUERY + b" HTTP/1.1\r\n"
HOST = b"Host: bot.example.com\r\n"
LENGTH = b"Content-Length: 2\r\n"


def test_an_ordinary_callback_is_its_query_and_its_body() -> None:
    """As a reverse proxy sends it."""
    headers = HOST + b"X-Real-IP: 203.0.113.9\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/4.0\r\n" + LENGTH
    assert ShortPath("/wecom/bot").read(LINE + headers + b"\r\n{}") == (QUERY, b"{}")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(LINE + HOST + LENGTH + b"\r\n{", id="not-whole"),
        pytest.param(LINE + HOST + LENGTH + b"\r\n{}POST", id="more-behind-it"),
        pytest.param(LINE + HOST + LENGTH, id="no-end-of-headers"),
        pytest.param(LINE + HOST + b"Content-Length: 0", id="no-end-of-headers-and-no-body"),
        pytest.param(LINE + HOST + b"\r\n{}", id="no-length"),
        pytest.param(LINE + b"\r\n", id="no-headers"),
        pytest.param(LINE + LENGTH + b"X-A: b\r\n\r\n{}", id="no-host"),
        pytest.param(LINE + HOST + HOST + LENGTH + b"\r\n{}", id="two-hosts"),
        pytest.param(LINE + HOST + LENGTH + b"User-Agent: a\r\nuser-agent: b\r\n\r\n{}", id="two-of-a-kind"),
        pytest.param(
            LINE + HOST + LENGTH + b"".join(b"X-%d: b\r\n" % n for n in range(63)) + b"\r\n{}", id="many-headers"
        ),
        pytest.param(LINE + HOST + LENGTH + LENGTH + b"\r\n{}", id="two-lengths"),
        pytest.param(LINE + HOST + b"Content-Length: +2\r\n\r\n{}", id="a-length-with-a-sign"),
        pytest.param(LINE + HOST + b"Content-Length: 2, 2\r\n\r\n{}", id="a-list-of-lengths"),
        pytest.param(LINE + HOST + b"X-Content-Length: 2\r\n\r\n{}", id="the-length-of-something-else"),
        pytest.param(LINE + HOST + b"Content-Length : 2\r\n\r\n{}", id="a-space-before-the-colon"),
        pytest.param(LINE + HOST + b"Content-Length:\r\n 2\r\n\r\n{}", id="a-folded-header"),
        pytest.param(LINE + HOST + LENGTH + b"X-A: b\rc\r\n\r\n{}", id="a-bare-return"),
        pytest.param(LINE + HOST + LENGTH + b"X-A: b\0c\r\n\r\n{}", id="a-zero-byte"),
        pytest.param(LINE + HOST + LENGTH + b"X(A): b\r\n\r\n{}", id="a-name-that-is-no-token"),
        pytest.param(LINE + HOST + LENGTH + b"\n\r\n{}", id="a-bare-newline"),
        pytest.param(LINE + HOST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n{}", id="chunked"),
        pytest.param(LINE + HOST + LENGTH + b"transfer-encoding: identity\r\n\r\n{}", id="any-transfer-encoding"),
        pytest.param(LINE + HOST + LENGTH + b"Content-Encoding: gzip\r\n\r\n{}", id="compressed"),
        pytest.param(LINE + HOST + LENGTH + b"Expect: 100-continue\r\n\r\n{}", id="expects-a-word-before"),
        pytest.param(LINE + HOST + LENGTH + b"Connection: close\r\n\r\n{}", id="wants-to-be-hung-up-on"),
        pytest.param(LINE + HOST + LENGTH + b"Upgrade: h2c\r\n\r\n{}", id="wants-another-protocol"),
        pytest.param(LINE.replace(b"POST", b"PUT") + HOST + LENGTH + b"\r\n{}", id="another-method"),
        pytest.param(LINE.replace(b"/bot?", b"/bots?") + HOST + LENGTH + b"\r\n{}", id="another-path"),
        pytest.param(LINE.replace(b"?", b"#") + HOST + LENGTH + b"\r\n{}", id="no-query"),
        pytest.param(LINE.replace(b"1.1", b"1.0") + HOST + LENGTH + b"\r\n{}", id="an-old-version"),
        pytest.param(b"\r\n" + LINE + HOST + LENGTH + b"\r\n{}", id="an-empty-line-before"),
        pytest.param(LINE + HOST + b"X-A: " + b"b" * HEAD_BYTES + b"\r\n" + LENGTH + b"\r\n{}", id="a-long-head"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_not_ordinary_is_left_to_aiohttp(request_bytes: bytes) -> None:
    """Right or wrong: the short path judges neither."""
    assert ShortPath("/wecom/bot").read(request_bytes) is None


def test_no_body_is_a_body() -> None:
    """Whoever is asked about it will say what is wrong."""
    assert ShortPath("/wecom/bot").read(LINE + HOST + b"Content-Length: 0\r\n\r\n") == (QUERY, b"")


def test_headers_judged_before_are_not_taken_for_others() -> None:
    """Each set of headers has its own judgment, and there is an end to how many are kept."""
    short_path = ShortPath("/wecom/bot")
    for number in range(1000):
        headers = HOST + b"X-Request-Id: %d\r\n" % number
        assert short_path.read(LINE + headers + LENGTH + b"\r\n{}") == (QUERY, b"{}")
        assert short_path.read(LINE + headers + LENGTH + b"\r\n{}}") is None
        assert short_path.read(LINE + headers + LENGTH + b"Expect: x\r\n\r\n{}") is None
    assert len(short_path._lengths) <= 256


def test_a_path_is_taken_literally() -> None:
    """A dot in it is a dot."""
    assert ShortPath("/a.b").read(b"POST /axb?q HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n{}") is None
    assert ShortPath("/a.b").read(b"POST /a.b?q HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n{}") == (b"q", b"{}")


class Receiver:
    """Answers with who was asked; ordinary callbacks wait for `gate` when there is one."""

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []
        self.came = asyncio.Event()
        self.answer = CallbackAnswer(status=200, body=b"{}", content_type="application/json")
        self.declines = False

    async def receive(
        self, method: str, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]
    ) -> CallbackAnswer:
        await read_body()
        self.asked.append(f"{method} long")
        return self.answer

    def receive_ordinary(self, query: bytes, body: bytes) -> CallbackAnswer | Later[CallbackAnswer] | None:
        if self.declines:
            return None
        self.asked.append("POST short")
        self.came.set()
        return Later(asyncio.ensure_future(self._answer_later(self.gate))) if self.gate else self.answer

    async def hold(self, caller: Caller) -> asyncio.Event:
        """Have an ordinary callback come, and return what lets its answer go."""
        self.gate = asyncio.Event()
        caller.send(ORDINARY)
        await self.came.wait()
        return self.gate

    async def _answer_later(self, gate: asyncio.Event) -> CallbackAnswer:
        await gate.wait()
        return self.answer


class Caller:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, *segments: bytes) -> None:
        for segment in segments:
            self.writer.write(segment)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            return int(status.split(" ")[1]), headers, await self._reader.readexactly(int(headers["Content-Length"]))


ORDINARY = LINE + HOST + LENGTH + b"\r\n{}"


@asynccontextmanager
async def serving(*, short_path: bool = True) -> AsyncIterator[tuple[Receiver, CallbackServer, Caller]]:
    receiver = Receiver()
    server = CallbackServer(
        receiver, host="127.0.0.1", port=0, path="/wecom/bot", dropped=lambda _reason: None, short_path=short_path
    )
    port = await server.start()
    caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield receiver, server, caller
    finally:
        caller.writer.close()
        await server.stop()


@pytest.mark.parametrize("answer", [None, dull_answer(400), dull_answer(405), dull_answer(503)], ids=str)
async def test_both_ways_answer_alike(answer: CallbackAnswer | None) -> None:
    """The same status, headers and body."""
    answers = []
    for short_path in (True, False):
        async with serving(short_path=short_path) as (receiver, _, caller):
            receiver.answer = answer or receiver.answer
            caller.send(ORDINARY)
            status, headers, body = await caller.answer()
            assert headers.pop("Date").endswith(" GMT")
            answers.append((status, headers, body))
            assert receiver.asked == ["POST short" if short_path else "POST long"]
    assert answers[0] == answers[1]


async def test_a_connection_changes_hands_in_the_middle() -> None:
    """The same connection serves ordinary callbacks before and everything afterwards."""
    async with serving() as (receiver, _, caller):
        for request in (ORDINARY, ORDINARY, ORDINARY.replace(b"POST", b"GET"), ORDINARY):
            caller.send(request)
            assert (await caller.answer())[0] == 200
        assert receiver.asked == ["POST short", "POST short", "GET long", "POST long"]


async def test_what_the_receiver_does_not_take_goes_the_long_way() -> None:
    """With every byte that came."""
    async with serving() as (receiver, _, caller):
        receiver.declines = True
        caller.send(ORDINARY)
        assert (await caller.answer())[0] == 200
        assert receiver.asked == ["POST long"]


async def test_what_comes_behind_a_request_that_is_not_taken_comes_through() -> None:
    """Reading goes on when the connection changes hands."""
    async with serving() as (receiver, server, caller):
        receiver.declines = True
        connection = next(iter(server.connections._strangers)).transport.get_protocol()
        assert isinstance(connection, Connection)
        connection._take(ORDINARY)
        connection._take(ORDINARY.replace(b"POST", b"PUT"))
        assert (await caller.answer())[0] == 200
        assert (await caller.answer())[0] == 200
        caller.send(ORDINARY)
        assert (await caller.answer())[0] == 200
        assert receiver.asked == ["POST long", "PUT long", "POST long"]


async def test_a_stop_waits_for_an_answer_under_way() -> None:
    """Whoever was promised something hears of it."""
    async with serving() as (receiver, server, caller):
        gate = await receiver.hold(caller)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        gate.set()
        assert (await caller.answer())[0] == 200
        await stopping


async def test_callbacks_sent_without_waiting_are_answered_in_order() -> None:
    """What comes while an answer takes its time is answered after it."""
    async with serving() as (receiver, _, caller):
        gate = await receiver.hold(caller)
        caller.send(ORDINARY.replace(b"POST", b"PUT"), ORDINARY)
        gate.set()
        assert [(await caller.answer())[0] for _ in range(3)] == [200, 200, 200]
        assert receiver.asked == ["POST short", "PUT long", "POST long"]


async def test_whoever_hangs_up_early_leaves_nothing_behind() -> None:
    """The callback is taken all the same; its answer goes nowhere, and nobody is told of a failure."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    async with serving() as (receiver, server, caller):
        gate = await receiver.hold(caller)
        caller.writer.transport.abort()
        while len(server.connections):  # noqa: ASYNC110 - nothing tells that it is gone
            await asyncio.sleep(0)
        gate.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert receiver.asked == ["POST short"]
    # A task that failed unseen says so when it is collected.
    gc.collect()
    assert told == []


async def test_whoever_reads_no_answers_is_hung_up_on() -> None:
    """They would pile up in memory."""
    async with serving() as (receiver, server, caller):
        receiver.answer = CallbackAnswer(status=200, body=bytes(16 * 1024 * 1024))
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has it on ReadTransport
        caller.send(ORDINARY)
        async with asyncio.timeout(WAIT_SECONDS):
            while not receiver.asked or len(server.connections):  # noqa: ASYNC110 - nothing tells that it is gone
                await asyncio.sleep(0)
