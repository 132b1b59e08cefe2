"""The limit on how many of a server's answers are parsed."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler

from maven_channel_wecom.transport.answer_limit import READ_BYTES, AnswerLimit

INFORMATIONAL = b"HTTP/1.1 100 \r\n\r\n"


class FakeTransport(asyncio.Transport):
    """A transport that only records whether it was aborted."""

    aborted = False

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def receive(limit: AnswerLimit, data: bytes) -> None:
    """Pass data to a protocol as an event loop does."""
    while data:
        buffer = limit.get_buffer(-1)
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        limit.buffer_updated(size)
        data = data[size:]


@pytest.mark.parametrize("body", [0, 2_000], ids=["no-body", "body"])
@pytest.mark.parametrize("framing", ["none", "length", "chunks"])
async def test_few_of_ten_thousand_informational_answers_are_parsed(body: int, framing: str) -> None:
    """This includes informational answers after a complete answer, wherever its body ends."""
    handler, transport = ResponseHandler(asyncio.get_running_loop()), FakeTransport()
    handler.connection_made(transport)
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    answer = b""
    if framing == "length":
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % body + b"x" * body
    elif framing == "chunks":
        chunk = b"%x\r\n" % body + b"x" * body + b"\r\n" if body else b""
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    receive(AnswerLimit(handler, transport, closed=lambda _: None), answer + INFORMATIONAL * 10_000)
    assert transport.aborted
    assert len(handler) <= 2 + READ_BYTES // len(INFORMATIONAL)


async def test_data_received_after_a_close_is_not_parsed() -> None:
    handler, transport = ResponseHandler(asyncio.get_running_loop()), FakeTransport()
    handler.connection_made(transport)
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    limit = AnswerLimit(handler, transport, closed=lambda _: None)
    transport.abort()
    receive(limit, INFORMATIONAL * 10_000)
    assert len(handler) == 0
