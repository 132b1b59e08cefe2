"""One connection, seen from the wire: what is answered, in which order, and when it is closed."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import struct
from typing import Any

import pytest

from maven_channel_wecom.server.connection import LINGER_BYTES, SEGMENT_BYTES, Connection
from maven_channel_wecom.server.messages import Answer
from maven_channel_wecom.server.parser import BODY_BYTES, MAX_PIPELINED, RequestParser
from tests.server.serving import CALLBACK, LINE, WAIT_SECONDS, Caller, Serving, post, serving

GET = b"GET /wecom/bot?q HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_request_is_handed_on_with_its_query_raw() -> None:
    async with serving() as port:
        caller = await port.connect()
        response = await caller.ask(GET.replace(b"?q", b"?echostr=a%2Bb%252F"))
        assert (response.status, response.body) == (200, b"GET echostr=a%2Bb%252F 0")
        assert port.receiver.heads == [("GET", b"echostr=a%2Bb%252F")]
        assert port.rejected == []


async def test_one_connection_serves_one_request_after_the_other() -> None:
    async with serving() as port:
        caller = await port.connect()
        for request in (CALLBACK, GET, post(b"x", b"[1]"), CALLBACK):
            assert (await caller.ask(request)).status == 200
        assert port.receiver.bodies == [b"{}", b"", b"[1]", b"{}"]


async def test_head_is_answered_like_get_without_the_body() -> None:
    async with serving() as port:
        caller = await port.connect(GET.replace(b"GET", b"HEAD") + GET)
        head = await caller.response(with_body=False)
        get = await caller.response()
        assert head.headers["Content-Length"] == get.headers["Content-Length"] == "7"
        assert [request.method for request in port.receiver.requests] == ["GET", "GET"]


@pytest.mark.parametrize(
    ("request_bytes", "rejection"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("path", 404), id="another-path"),
        pytest.param(b"DELETE /wecom/bot/ HTTP/1.1\r\nHost: x\r\n\r\n", ("path", 404), id="a-slash-too-much"),
        pytest.param(CALLBACK.replace(b"POST", b"PUT"), ("method", 405), id="another-method"),
        pytest.param(b"OPTIONS /wecom/bot HTTP/1.1\r\nHost: x\r\n\r\n", ("method", 405), id="options"),
    ],
)
async def test_a_whole_request_that_is_refused_leaves_the_connection_open(
    request_bytes: bytes, rejection: tuple[str, int]
) -> None:
    async with serving() as port:
        caller = await port.connect()
        response = await caller.ask(request_bytes)
        assert (response.status, response.headers.get("Connection")) == (rejection[1], None)
        assert port.rejected == [rejection]
        assert (await caller.ask(GET)).status == 200
        assert port.receiver.heads == [("GET", b"q")]


@pytest.mark.parametrize(
    ("request_bytes", "rejection"),
    [
        pytest.param(b"canary\r\n\r\n", ("not_http", 400), id="no-http"),
        pytest.param(b"GET /wecom/bot HTTP/1.1\r\ncanary\r\n\r\n", ("not_http", 400), id="no-header"),
        pytest.param(b"GET /wecom/bot?canary HTTP/9.9.9\r\n\r\n", ("not_http", 400), id="no-version"),
        pytest.param(b"\x16\x03\x01canary", ("tls", 400), id="tls"),
        pytest.param(LINE + b"Content-Length: canary\r\n\r\n", ("not_http", 400), id="no-length"),
        pytest.param(LINE + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", ("not_http", 400), id="both"),
        pytest.param(LINE + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n", ("coded", 415), id="coded"),
        pytest.param(
            b"POST /canary HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n123456789",
            ("coded", 415),
            id="coded-elsewhere",
        ),
        pytest.param(LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n", ("coded", 415), id="transfer-coded"),
        pytest.param(LINE + b"Expect: canary\r\nContent-Length: 9\r\n\r\n", ("expectation", 417), id="expectation"),
        pytest.param(LINE + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1), ("too_large", 413), id="too-large"),
        pytest.param(b"PUT /wecom/bot HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", ("method", 405), id="method"),
        pytest.param(b"POST /canary HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", ("path", 404), id="path"),
    ],
)
async def test_a_request_refused_at_its_head_is_answered_and_the_connection_closed(
    request_bytes: bytes, rejection: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer names neither the request nor the software, and nothing is logged."""
    async with serving() as port:
        caller = await port.connect(request_bytes)
        response = await caller.response()
        assert await caller.rest() == b""
        assert response.status == rejection[1]
        assert response.headers["Connection"] == "close"
        assert response.headers["Server"] == "maven"
        assert b"canary" not in response.body
        assert port.rejected == [rejection]
        assert port.receiver.heads == []
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_a_request_that_the_receiver_refuses_by_its_head_is_not_read() -> None:
    """The connection is closed, unless the body has come already."""
    async with serving() as port:
        caller = await port.connect()
        assert (await caller.ask(post(b"refused"))).status == 401
        caller.send(post(b"refused", bytes(100_000))[:1000])
        response = await caller.response()
        assert (response.status, response.headers["Connection"]) == (401, "close")
        assert await caller.rest() == b""
        assert port.receiver.requests == []
        assert port.rejected == []


async def test_continue_is_said_when_the_body_is_wanted() -> None:
    async with serving() as port:
        caller = await port.connect(LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await caller.response()).status == 100
        assert port.receiver.heads == [("POST", b"genuine")]
        assert (await caller.ask(b"{}")).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", 200, id="has-come"),
        pytest.param(LINE + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n{", 408, id="has-begun"),
        pytest.param(LINE + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", 200, id="nothing-to-come"),
        pytest.param(
            LINE.replace(b"genuine", b"refused") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            401,
            id="refused",
        ),
        pytest.param(
            LINE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1), 413, id="too-large"
        ),
    ],
)
async def test_continue_is_not_said_otherwise(request_bytes: bytes, status: int) -> None:
    async with serving(body_seconds=0.1) as port:
        caller = await port.connect()
        assert (await caller.ask(request_bytes)).status == status


async def test_continue_behind_another_request_waits_for_its_answer() -> None:
    async with serving() as port:
        caller = await port.connect(post(b"later") + LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await port.receiver.came.wait()
        port.receiver.answer_all()
        assert [(await caller.response()).status for _ in range(2)] == [200, 100]
        assert (await caller.ask(b"{}")).status == 200


async def test_http_1_0_says_nothing_between_and_closes_unless_asked() -> None:
    old = b"POST /wecom/bot?q HTTP/1.0\r\nContent-Length: 2\r\n"
    async with serving() as port:
        caller = await port.connect(old + b"Connection: keep-alive\r\nExpect: 100-continue\r\n\r\n")
        response = await caller.ask(b"{}")
        assert (response.status, response.headers["Connection"]) == (200, "keep-alive")
        response = await caller.ask(old + b"\r\n{}")
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert await caller.rest() == b""


async def test_close_is_done_and_said() -> None:
    async with serving() as port:
        caller = await port.connect(LINE + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}" + CALLBACK)
        assert (await caller.response()).headers["Connection"] == "close"
        assert await caller.rest() == b""
        assert len(port.receiver.requests) == 1


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_an_upgrade_is_answered_as_an_ordinary_request(upgrade: bytes) -> None:
    async with serving() as port:
        caller = await port.connect()
        head = LINE + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
        assert (await caller.ask(head + b"Content-Length: 2\r\n\r\n{}")).body == b"POST genuine 2"
        assert (await caller.ask(head + b"\r\n")).body == b"POST genuine 0"
        assert (await caller.ask(CALLBACK)).status == 200


async def test_pipelined_requests_are_answered_in_order() -> None:
    """The first four come at once, the others while the first is being answered."""
    async with serving() as port:
        caller = await port.connect(post(b"later") + post(b"a") + GET.replace(b"/wecom/bot", b"/") + post(b"b"))
        await port.receiver.came.wait()
        assert len(port.receiver.requests) == 1
        caller.send(post(b"c") + post(b"later"))
        # To be read while the first is being answered; had they come later, all the same would follow.
        for _ in range(10):
            await asyncio.sleep(0)
        port.receiver.answer_all()
        bodies = [(await caller.response()).body for _ in range(5)]
        assert bodies == [b"POST later 2", b"POST a 2", b"not found", b"POST b 2", b"POST c 2"]
        await port.receiver.came.wait()
        port.receiver.answer_all()
        assert (await caller.response()).body == b"POST later 2"
        assert (await caller.ask(CALLBACK)).status == 200


async def test_too_many_pipelined_requests_are_cut_off_behind_those_that_came_first() -> None:
    async with serving() as port:
        caller = await port.connect(post(b"x") * 1000)
        answers = (await caller.rest()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"200"] * (MAX_PIPELINED + 1) + [b"503"]
        assert port.rejected == [("pipelined", 503)]


async def test_a_caller_who_sends_on_while_being_answered_is_not_read_further() -> None:
    """The server keeps one segment; the rest waits in the sockets, and the caller with it."""
    many = post(b"x") * (64 * SEGMENT_BYTES // len(post(b"x")))
    async with serving() as port:
        caller = await port.connect(post(b"later"))
        await port.receiver.came.wait()
        caller.send(many)
        sending = asyncio.ensure_future(caller.writer.drain())
        for _ in range(200):
            await asyncio.sleep(0)
        assert not sending.done()
        assert len(port.receiver.requests) == 1
        port.receiver.answer_all()
        assert (await caller.response()).status == 200
        await caller.rest()
        sending.cancel()


@pytest.mark.parametrize("before", [pytest.param(b"", id="alone"), pytest.param(CALLBACK, id="behind-another")])
@pytest.mark.parametrize("chunks", [b"canary\r\n", b"1\r\na\r\n" * 30 + b"canary\r\n", b"1\r\nabcanary"])
async def test_a_body_of_broken_chunks_is_refused_at_once(before: bytes, chunks: bytes) -> None:
    """Nothing behind it is read: those bytes might be the rest of the body, or a request."""
    async with serving() as port:
        caller = await port.connect(before + LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        while len(port.receiver.heads) < 1 + bool(before):  # noqa: ASYNC110 - nothing tells that the body is waited for
            await asyncio.sleep(0)
        caller.send(chunks + CALLBACK)
        answers = (await caller.rest()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"200"] * bool(before) + [b"400"]
        assert port.rejected == [("aborted", 400)]
        assert port.receiver.bodies == [b"{}"] * bool(before)


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with serving() as port:
        caller = await port.connect()
        response = await caller.ask(post(b"x", bytes(BODY_BYTES)))
        assert response.body == b"POST x %d" % BODY_BYTES


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1) + bytes(BODY_BYTES + 1), id="announced"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + bytes(65536) + b"\r\n") * 20, id="in-chunks"
        ),
        pytest.param(b"Content-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000), id="coded"),
    ],
)
async def test_an_early_answer_reaches_a_caller_who_is_still_sending(rest: bytes) -> None:
    """A reset before the caller has sent everything would destroy the answer."""
    loop = asyncio.get_running_loop()
    async with serving() as port, asyncio.timeout(WAIT_SECONDS):
        with socket.socket() as caller:
            # What it sends must be read, or it could not be sent.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            caller.settimeout(0)
            await loop.sock_connect(caller, ("127.0.0.1", port.port))
            await loop.sock_sendall(caller, LINE + rest)
            answer = b""
            while piece := await loop.sock_recv(caller, 4096):
                answer += piece
        assert answer.split(b" ", 2)[1] in {b"413", b"415"}
        assert b"\r\nConnection: close\r\n" in answer
        assert port.receiver.requests == []


async def send_for_ever(caller: Caller) -> None:
    """Send far more than is read of a refused body."""
    for _ in range(64 * LINGER_BYTES // SEGMENT_BYTES):
        caller.send(bytes(SEGMENT_BYTES))
        await caller.writer.drain()


async def test_a_caller_who_never_stops_sending_is_cut_off() -> None:
    async with serving() as port:
        caller = await port.connect(LINE + b"Content-Encoding: gzip\r\nContent-Length: 999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            await send_for_ever(caller)
        await port.all_gone()


async def test_a_caller_who_keeps_a_closed_connection_open_is_cut_off() -> None:
    async with serving(body_seconds=0.3) as port:
        caller = await port.connect(LINE + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n")
        assert (await caller.response()).status == 415
        await port.all_gone()


async def test_nothing_is_decompressed() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    async with serving() as port:
        caller, other = await port.connect(), await port.connect()
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        caller.send(LINE + head + bomb)
        assert (await caller.response()).status == 415
        assert (await other.ask(CALLBACK)).status == 200
        assert port.receiver.bodies == [b"{}"]


async def test_a_slow_body_is_refused_on_a_verified_connection_too() -> None:
    async with serving(body_seconds=0.2) as port:
        caller = await port.connect()
        assert (await caller.ask(CALLBACK)).status == 200
        response = await caller.ask(post(b"genuine", bytes(9))[:-1])
        assert (response.status, response.headers["Connection"]) == (408, "close")
        assert await caller.rest() == b""
        assert port.rejected == [("slow", 408)]
        assert port.dropped == []


@pytest.mark.parametrize("half", [pytest.param(True, id="half-closed"), pytest.param(False, id="closed")])
@pytest.mark.parametrize(
    "beginning",
    [LINE + b"Content-Length: 10\r\n\r\nabc", LINE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"],
    ids=["length", "chunked"],
)
async def test_a_body_that_breaks_off_is_reported_and_not_handed_on(beginning: bytes, *, half: bool) -> None:
    async with serving() as port:
        caller = await port.connect(beginning)
        await caller.writer.drain()
        (caller.writer.write_eof if half else caller.writer.close)()
        await port.next_report()
        await port.all_gone()
        assert port.rejected == [("aborted", 400)]
        assert port.receiver.requests == []


async def test_a_body_that_breaks_off_behind_a_request_being_answered_is_reported() -> None:
    async with serving() as port:
        caller = await port.connect(post(b"later") + LINE + b"Content-Length: 10\r\n\r\nabc")
        caller.writer.write_eof()
        assert (await (await port.connect()).ask(CALLBACK)).status == 200
        port.receiver.answer_all()
        assert (await caller.response()).body == b"POST later 2"
        assert await caller.rest() == b""
        assert port.rejected == [("aborted", 400)]


async def test_a_head_that_breaks_off_is_not_reported() -> None:
    async with serving() as port:
        caller = await port.connect(LINE)
        await caller.writer.drain()
        caller.writer.close()
        await port.all_gone()
        assert port.rejected == []


async def test_a_caller_who_only_stops_sending_gets_all_answers() -> None:
    async with serving() as port:
        caller = await port.connect(post(b"later") + post(b"later"))
        caller.writer.write_eof()
        # When somebody else has been answered, the server knows that nothing more comes.
        assert (await (await port.connect()).ask(CALLBACK)).status == 200
        for _ in range(2):
            await port.receiver.came.wait()
            port.receiver.answer_all()
        assert (await caller.response()).body == b"POST later 2"
        last = await caller.response()
        assert (last.body, last.headers["Connection"]) == (b"POST later 2", "close")
        assert await caller.rest() == b""


async def test_the_answer_to_a_caller_who_left_is_discarded() -> None:
    """The request stays with the receiver, and the event loop meets no exception."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    async with serving() as port:
        caller = await port.connect(post(b"later") + post(b"x"))
        await port.receiver.came.wait()
        # Closed with a reset: a caller that only stops sending still wants its answer.
        caller.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.writer.transport.abort()
        await port.all_gone()
        port.receiver.answer_all()
        assert len(port.receiver.requests) == 1
        assert port.rejected == []
    assert told == []


async def test_a_caller_who_leaves_just_before_the_answer_is_no_failure() -> None:
    """The caller's system resets the connection when the answer arrives, before the event loop sees its end."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    async with serving() as port:
        with socket.create_connection(("127.0.0.1", port.port)) as leaving:
            leaving.sendall(post(b"later").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await port.receiver.came.wait()
        port.receiver.answer_all()
        await port.all_gone()
    assert told == []


async def test_a_request_is_answered_once() -> None:
    async with serving() as port:
        caller = await port.connect()
        await caller.ask(CALLBACK)
        with pytest.raises(RuntimeError):
            port.receiver.requests[0].answer(Answer(status=200))


async def test_a_caller_who_reads_no_answers_is_dropped() -> None:
    """Unread answers would pile up in memory."""
    async with serving() as port:
        caller = await port.connect(post(b"later"))
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has it on ReadTransport
        await port.receiver.came.wait()
        port.receiver.waiting.pop().answer(Answer(status=200, body=bytes(16 * 1024 * 1024)))
        await port.next_report()
        await port.all_gone()
        assert port.dropped == ["slow"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CALLBACK, id="callback"),
        pytest.param(b"canary\r\n\r\n", id="no-http"),
        pytest.param(LINE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 30 + b"canary\r\n", id="chunks"),
        pytest.param(LINE + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{", id="half-an-upgrade"),
        pytest.param(LINE + b"X: ", id="half-a-head"),
    ],
)
async def test_a_connection_that_is_gone_leaves_no_garbage(data: bytes) -> None:
    """A flood of connections would create garbage faster than the collector runs."""

    def left() -> int:
        return sum(isinstance(each, Connection | RequestParser) for each in gc.get_objects())

    async def come_and_go(port: Serving) -> None:
        caller = await port.connect(data)
        await caller.writer.drain()
        caller.writer.write_eof()
        await caller.rest()
        caller.writer.close()
        await port.all_gone()

    async with serving() as port:
        # What other tests left is not looked at.
        gc.freeze()
        gc.disable()
        try:
            for _ in range(5):
                await come_and_go(port)
            port.receiver.requests.clear()
            await asyncio.sleep(0)
            assert left() == 0
        finally:
            gc.enable()
            gc.unfreeze()
