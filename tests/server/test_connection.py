"""One connection, tested over TCP: what is answered, in which order, and when it is closed."""

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
from tests.server.harness import CALLBACK, LINE, WAIT_SECONDS, Client, ServerHarness, post, start_server

GET = b"GET /wecom/bot?q HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_request_is_handed_on_with_its_raw_query() -> None:
    async with start_server() as harness:
        client = await harness.connect()
        response = await client.ask(GET.replace(b"?q", b"?echostr=a%2Bb%252F"))
        assert (response.status, response.body) == (200, b"GET echostr=a%2Bb%252F 0")
        assert harness.receiver.heads == [("GET", b"echostr=a%2Bb%252F")]
        assert harness.rejected == []


async def test_a_connection_serves_several_requests_in_sequence() -> None:
    async with start_server() as harness:
        client = await harness.connect()
        for request in (CALLBACK, GET, post(b"x", b"[1]"), CALLBACK):
            assert (await client.ask(request)).status == 200
        assert harness.receiver.bodies == [b"{}", b"", b"[1]", b"{}"]


async def test_head_is_answered_like_get_without_the_body() -> None:
    async with start_server() as harness:
        client = await harness.connect(GET.replace(b"GET", b"HEAD") + GET)
        head = await client.response(with_body=False)
        get = await client.response()
        assert head.headers["Content-Length"] == get.headers["Content-Length"] == "7"
        assert [request.method for request in harness.receiver.requests] == ["GET", "GET"]


@pytest.mark.parametrize(
    ("request_bytes", "rejection"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("path", 404), id="another-path"),
        pytest.param(b"DELETE /wecom/bot/ HTTP/1.1\r\nHost: x\r\n\r\n", ("path", 404), id="a-slash-too-much"),
        pytest.param(CALLBACK.replace(b"POST", b"PUT"), ("method", 405), id="another-method"),
        pytest.param(b"OPTIONS /wecom/bot HTTP/1.1\r\nHost: x\r\n\r\n", ("method", 405), id="options"),
    ],
)
async def test_refusing_a_complete_request_leaves_the_connection_open(
    request_bytes: bytes, rejection: tuple[str, int]
) -> None:
    async with start_server() as harness:
        client = await harness.connect()
        response = await client.ask(request_bytes)
        assert (response.status, response.headers.get("Connection")) == (rejection[1], None)
        assert harness.rejected == [rejection]
        assert (await client.ask(GET)).status == 200
        assert harness.receiver.heads == [("GET", b"q")]


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
    async with start_server() as harness:
        client = await harness.connect(request_bytes)
        response = await client.response()
        assert await client.rest() == b""
        assert response.status == rejection[1]
        assert response.headers["Connection"] == "close"
        assert response.headers["Server"] == "maven"
        assert b"canary" not in response.body
        assert harness.rejected == [rejection]
        assert harness.receiver.heads == []
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_a_request_that_the_receiver_refuses_by_its_head_is_not_read() -> None:
    """The connection is closed, unless the body has already arrived."""
    async with start_server() as harness:
        client = await harness.connect()
        assert (await client.ask(post(b"refused"))).status == 401
        client.send(post(b"refused", bytes(100_000))[:1000])
        response = await client.response()
        assert (response.status, response.headers["Connection"]) == (401, "close")
        assert await client.rest() == b""
        assert harness.receiver.requests == []
        assert harness.rejected == []


async def test_100_continue_is_sent_when_the_body_is_to_be_read() -> None:
    async with start_server() as harness:
        client = await harness.connect(LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.response()).status == 100
        assert harness.receiver.heads == [("POST", b"genuine")]
        assert (await client.ask(b"{}")).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", 200, id="has-arrived"),
        pytest.param(LINE + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n{", 408, id="has-begun"),
        pytest.param(LINE + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", 200, id="no-body"),
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
async def test_100_continue_is_not_sent_otherwise(request_bytes: bytes, status: int) -> None:
    async with start_server(body_seconds=0.1) as harness:
        client = await harness.connect()
        assert (await client.ask(request_bytes)).status == status


async def test_100_continue_follows_the_answer_to_the_previous_request() -> None:
    async with start_server() as harness:
        client = await harness.connect(post(b"later") + LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await harness.receiver.has_waiting.wait()
        harness.receiver.answer_all()
        assert [(await client.response()).status for _ in range(2)] == [200, 100]
        assert (await client.ask(b"{}")).status == 200


async def test_http_1_0_gets_no_100_continue_and_closes_by_default() -> None:
    old = b"POST /wecom/bot?q HTTP/1.0\r\nContent-Length: 2\r\n"
    async with start_server() as harness:
        client = await harness.connect(old + b"Connection: keep-alive\r\nExpect: 100-continue\r\n\r\n")
        response = await client.ask(b"{}")
        assert (response.status, response.headers["Connection"]) == (200, "keep-alive")
        response = await client.ask(old + b"\r\n{}")
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert await client.rest() == b""


async def test_connection_close_is_answered_and_obeyed() -> None:
    async with start_server() as harness:
        client = await harness.connect(LINE + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}" + CALLBACK)
        assert (await client.response()).headers["Connection"] == "close"
        assert await client.rest() == b""
        assert len(harness.receiver.requests) == 1


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_an_upgrade_is_answered_as_an_ordinary_request(upgrade: bytes) -> None:
    async with start_server() as harness:
        client = await harness.connect()
        head = LINE + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
        assert (await client.ask(head + b"Content-Length: 2\r\n\r\n{}")).body == b"POST genuine 2"
        assert (await client.ask(head + b"\r\n")).body == b"POST genuine 0"
        assert (await client.ask(CALLBACK)).status == 200


async def test_pipelined_requests_are_answered_in_order() -> None:
    """The first four arrive together, the others while the first is being answered."""
    async with start_server() as harness:
        client = await harness.connect(post(b"later") + post(b"a") + GET.replace(b"/wecom/bot", b"/") + post(b"b"))
        await harness.receiver.has_waiting.wait()
        assert len(harness.receiver.requests) == 1
        client.send(post(b"c") + post(b"later"))
        # Lets the server read them while the first is being answered. The result is the same if they arrive later.
        for _ in range(10):
            await asyncio.sleep(0)
        harness.receiver.answer_all()
        bodies = [(await client.response()).body for _ in range(5)]
        assert bodies == [b"POST later 2", b"POST a 2", b"not found", b"POST b 2", b"POST c 2"]
        await harness.receiver.has_waiting.wait()
        harness.receiver.answer_all()
        assert (await client.response()).body == b"POST later 2"
        assert (await client.ask(CALLBACK)).status == 200


async def test_requests_beyond_the_pipelining_limit_are_refused_after_the_others_are_answered() -> None:
    async with start_server() as harness:
        client = await harness.connect(post(b"x") * 1000)
        answers = (await client.rest()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"200"] * (MAX_PIPELINED + 1) + [b"503"]
        assert harness.rejected == [("pipelined", 503)]


async def test_reading_pauses_when_a_client_sends_more_while_being_answered() -> None:
    """The server keeps one segment; the rest stays in the socket buffers, and the client blocks."""
    many = post(b"x") * (64 * SEGMENT_BYTES // len(post(b"x")))
    async with start_server() as harness:
        client = await harness.connect(post(b"later"))
        await harness.receiver.has_waiting.wait()
        client.send(many)
        sending = asyncio.ensure_future(client.writer.drain())
        for _ in range(200):
            await asyncio.sleep(0)
        assert not sending.done()
        assert len(harness.receiver.requests) == 1
        harness.receiver.answer_all()
        assert (await client.response()).status == 200
        await client.rest()
        sending.cancel()


@pytest.mark.parametrize("before", [pytest.param(b"", id="alone"), pytest.param(CALLBACK, id="after-another")])
@pytest.mark.parametrize("chunks", [b"canary\r\n", b"1\r\na\r\n" * 30 + b"canary\r\n", b"1\r\nabcanary"])
async def test_a_body_of_broken_chunks_is_refused_at_once(before: bytes, chunks: bytes) -> None:
    """Nothing after a broken chunk is parsed: those bytes might be the rest of the body, or another request."""
    async with start_server() as harness:
        client = await harness.connect(before + LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        while len(harness.receiver.heads) < 1 + bool(before):  # noqa: ASYNC110 - there is no event for this
            await asyncio.sleep(0)
        client.send(chunks + CALLBACK)
        answers = (await client.rest()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"200"] * bool(before) + [b"400"]
        assert harness.rejected == [("aborted", 400)]
        assert harness.receiver.bodies == [b"{}"] * bool(before)


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with start_server() as harness:
        client = await harness.connect()
        response = await client.ask(post(b"x", bytes(BODY_BYTES)))
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
async def test_an_early_answer_reaches_a_client_that_is_still_sending(rest: bytes) -> None:
    """A reset before the client has sent everything would destroy the answer."""
    loop = asyncio.get_running_loop()
    async with start_server() as harness, asyncio.timeout(WAIT_SECONDS):
        with socket.socket() as client:
            # With a small buffer, sending completes only if the server keeps reading.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.settimeout(0)
            await loop.sock_connect(client, ("127.0.0.1", harness.port))
            await loop.sock_sendall(client, LINE + rest)
            answer = b""
            while piece := await loop.sock_recv(client, 4096):
                answer += piece
        assert answer.split(b" ", 2)[1] in {b"413", b"415"}
        assert b"\r\nConnection: close\r\n" in answer
        assert harness.receiver.requests == []


async def send_forever(client: Client) -> None:
    """Send far more than the server reads of a refused body."""
    for _ in range(64 * LINGER_BYTES // SEGMENT_BYTES):
        client.send(bytes(SEGMENT_BYTES))
        await client.writer.drain()


async def test_a_client_that_never_stops_sending_is_cut_off() -> None:
    async with start_server() as harness:
        client = await harness.connect(LINE + b"Content-Encoding: gzip\r\nContent-Length: 999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            await send_forever(client)
        await harness.all_closed()


async def test_a_client_that_keeps_a_closed_connection_open_is_cut_off() -> None:
    async with start_server(body_seconds=0.3) as harness:
        client = await harness.connect(LINE + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n")
        assert (await client.response()).status == 415
        await harness.all_closed()


async def test_bodies_are_not_decompressed() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    async with start_server() as harness:
        client, other = await harness.connect(), await harness.connect()
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        client.send(LINE + head + bomb)
        assert (await client.response()).status == 415
        assert (await other.ask(CALLBACK)).status == 200
        assert harness.receiver.bodies == [b"{}"]


async def test_a_slow_body_is_refused_on_a_verified_connection_too() -> None:
    async with start_server(body_seconds=0.2) as harness:
        client = await harness.connect()
        assert (await client.ask(CALLBACK)).status == 200
        response = await client.ask(post(b"genuine", bytes(9))[:-1])
        assert (response.status, response.headers["Connection"]) == (408, "close")
        assert await client.rest() == b""
        assert harness.rejected == [("slow", 408)]
        assert harness.dropped == []


@pytest.mark.parametrize("half", [pytest.param(True, id="half-closed"), pytest.param(False, id="closed")])
@pytest.mark.parametrize(
    "beginning",
    [LINE + b"Content-Length: 10\r\n\r\nabc", LINE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"],
    ids=["length", "chunked"],
)
async def test_a_body_that_breaks_off_is_reported_and_not_handed_on(beginning: bytes, *, half: bool) -> None:
    async with start_server() as harness:
        client = await harness.connect(beginning)
        await client.writer.drain()
        (client.writer.write_eof if half else client.writer.close)()
        await harness.next_report()
        await harness.all_closed()
        assert harness.rejected == [("aborted", 400)]
        assert harness.receiver.requests == []


async def test_a_body_that_breaks_off_after_a_request_being_answered_is_reported() -> None:
    async with start_server() as harness:
        client = await harness.connect(post(b"later") + LINE + b"Content-Length: 10\r\n\r\nabc")
        client.writer.write_eof()
        assert (await (await harness.connect()).ask(CALLBACK)).status == 200
        harness.receiver.answer_all()
        assert (await client.response()).body == b"POST later 2"
        assert await client.rest() == b""
        assert harness.rejected == [("aborted", 400)]


async def test_a_head_that_breaks_off_is_not_reported() -> None:
    async with start_server() as harness:
        client = await harness.connect(LINE)
        await client.writer.drain()
        client.writer.close()
        await harness.all_closed()
        assert harness.rejected == []


async def test_a_client_that_only_stops_sending_gets_all_answers() -> None:
    async with start_server() as harness:
        client = await harness.connect(post(b"later") + post(b"later"))
        client.writer.write_eof()
        # Once another client has been answered, the server has seen the end of this one's data.
        assert (await (await harness.connect()).ask(CALLBACK)).status == 200
        for _ in range(2):
            await harness.receiver.has_waiting.wait()
            harness.receiver.answer_all()
        assert (await client.response()).body == b"POST later 2"
        last = await client.response()
        assert (last.body, last.headers["Connection"]) == (b"POST later 2", "close")
        assert await client.rest() == b""


async def test_the_answer_to_a_client_that_left_is_discarded() -> None:
    """The request stays with the receiver, and no exception reaches the event loop."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with start_server() as harness:
        client = await harness.connect(post(b"later") + post(b"x"))
        await harness.receiver.has_waiting.wait()
        # Close with a reset: a client that only stops sending still expects its answer.
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await harness.all_closed()
        harness.receiver.answer_all()
        assert len(harness.receiver.requests) == 1
        assert harness.rejected == []
    assert errors == []


async def test_a_client_that_leaves_just_before_the_answer_causes_no_error() -> None:
    """The client's system resets the connection when the answer arrives, before the event loop notices the close."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with start_server() as harness:
        with socket.create_connection(("127.0.0.1", harness.port)) as leaving:
            leaving.sendall(post(b"later").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await harness.receiver.has_waiting.wait()
        harness.receiver.answer_all()
        await harness.all_closed()
    assert errors == []


async def test_a_request_is_answered_once() -> None:
    async with start_server() as harness:
        client = await harness.connect()
        await client.ask(CALLBACK)
        with pytest.raises(RuntimeError):
            harness.receiver.requests[0].answer(Answer(status=200))


async def test_a_client_that_reads_no_answers_is_dropped() -> None:
    """Unread answers would pile up in memory."""
    async with start_server() as harness:
        client = await harness.connect(post(b"later"))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has it on ReadTransport
        await harness.receiver.has_waiting.wait()
        harness.receiver.waiting.pop().answer(Answer(status=200, body=bytes(16 * 1024 * 1024)))
        await harness.next_report()
        await harness.all_closed()
        assert harness.dropped == ["slow"]


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
async def test_a_closed_connection_leaves_no_garbage(data: bytes) -> None:
    """A flood of connections would create garbage faster than the collector runs."""

    def remaining() -> int:
        return sum(isinstance(each, Connection | RequestParser) for each in gc.get_objects())

    async def connect_and_leave(harness: ServerHarness) -> None:
        client = await harness.connect(data)
        await client.writer.drain()
        client.writer.write_eof()
        await client.rest()
        client.writer.close()
        await harness.all_closed()

    async with start_server() as harness:
        # Objects that other tests left are not counted.
        gc.freeze()
        gc.disable()
        try:
            for _ in range(5):
                await connect_and_leave(harness)
            harness.receiver.requests.clear()
            await asyncio.sleep(0)
            assert remaining() == 0
        finally:
            gc.enable()
            gc.unfreeze()
