"""Reading lines without blocking the event loop."""

from __future__ import annotations

import asyncio
import os

from maven_channel_wecom.simulator.line_reader import read_lines


async def test_lines_are_read_from_a_pipe_as_they_arrive() -> None:
    """A line may be split over two writes, even within a character, and the last line needs no newline."""
    reading, writing = os.pipe()
    lines = read_lines(reading)
    try:
        async with asyncio.timeout(30):
            os.write(writing, "one\ntw你".encode()[:-1])
            assert await anext(lines) == "one"
            os.write(writing, "你".encode()[-1:] + b"o\nlast")
            assert await anext(lines) == "tw你o"
            os.close(writing)
            assert [line async for line in lines] == ["last"]
    finally:
        os.close(reading)
