"""What aiohttp takes apart of what a server says, and how much of it at once."""

from __future__ import annotations

import asyncio

import pytest

from maven_channel_wecom.transport.response_handler import ImpatientResponseHandler

ANNOUNCEMENT = b"HTTP/1.1 100 \r\n\r\n"


class Line(asyncio.Transport):
    """A connection that only knows whether it was hung up."""

    hung_up = False

    def is_closing(self) -> bool:
        return self.hung_up

    def abort(self) -> None:
        self.hung_up = True


@pytest.mark.parametrize("body", [0, 2_000], ids=["no-body", "body"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_of_ten_thousand_announcements_few_are_taken_apart(body: int, framing: str) -> None:
    """Also of those behind an answer, wherever its body ends."""
    handler, line = ImpatientResponseHandler(asyncio.get_running_loop()), Line()
    handler.connection_made(line)
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    if framing == "length":
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % body + b"x" * body
    else:
        chunk = b"%x\r\n" % body + b"x" * body + b"\r\n" if body else b""
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    handler.data_received(answer + ANNOUNCEMENT * 10_000)
    assert line.hung_up
    assert len(handler) < 2_500
