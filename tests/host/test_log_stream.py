"""Lines reach the stream in order, together where that is cheaper, and at once where it matters."""

from __future__ import annotations

import asyncio
import io
import logging
import threading

from maven_channel_wecom.host.log_stream import LogStream


class Counting(io.StringIO):
    """Counts the writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def a_logger(stream: io.StringIO) -> logging.Logger:
    logger = logging.Logger("alone", logging.DEBUG)  # noqa: LOG001 - nothing else is to hear it
    logger.addHandler(LogStream(stream))
    return logger


async def test_lines_of_one_turn_of_the_loop_are_one_write() -> None:
    """And they are there before the next turn is over."""
    stream = Counting()
    logger = a_logger(stream)
    for number in range(3):
        logger.info("line %d", number)
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert stream.getvalue() == "line 0\nline 1\nline 2\n"
    assert stream.writes == 1
    logger.info("line 3")
    await asyncio.sleep(0)
    assert stream.getvalue().endswith("line 3\n")


async def test_a_warning_goes_out_at_once_and_behind_what_came_before() -> None:
    """A process may die of what it warns of."""
    stream = Counting()
    logger = a_logger(stream)
    logger.info("before")
    logger.warning("trouble")
    assert stream.getvalue() == "before\ntrouble\n"


def test_without_a_loop_every_line_goes_out_at_once() -> None:
    """As in a thread, or before the start and after the end."""
    stream = Counting()
    logger = a_logger(stream)
    logger.info("first")
    assert stream.getvalue() == "first\n"
    thread = threading.Thread(target=logger.info, args=("second",))
    thread.start()
    thread.join()
    assert stream.getvalue() == "first\nsecond\n"


def test_a_line_left_by_a_loop_that_ended_goes_out_with_the_next() -> None:
    """Or when the process ends: logging flushes its handlers then."""
    stream = Counting()
    logger = a_logger(stream)

    async def say(what: str) -> None:
        logger.info(what)

    asyncio.run(say("first"))
    asyncio.run(say("second"))
    logger.handlers[0].flush()
    assert stream.getvalue() == "first\nsecond\n"


async def test_a_stream_that_is_gone_stops_nothing() -> None:
    """There is nowhere left to say so."""
    stream = Counting()
    logger = a_logger(stream)
    stream.close()
    logger.error("trouble")


async def test_a_line_that_cannot_be_made_leaves_the_others_alone() -> None:
    """It is reported where Python reports such things, and the rest goes on."""
    stream = Counting()
    logger = a_logger(stream)
    logging.raiseExceptions, before = False, logging.raiseExceptions
    try:
        logger.info("%d", "no number")
    finally:
        logging.raiseExceptions = before
    logger.info("after")
    await asyncio.sleep(0)
    assert stream.getvalue() == "after\n"
