"""Log lines reach the stream in order: together in one write, or at once if they are urgent."""

from __future__ import annotations

import asyncio
import io
import logging
import threading

from maven_channel_wecom.host.log_stream import LogStream


class CountingStream(io.StringIO):
    """A stream that counts its writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def logger_to(stream: io.StringIO) -> logging.Logger:
    logger = logging.Logger("alone", logging.DEBUG)  # noqa: LOG001 - other loggers must not receive its records
    logger.addHandler(LogStream(stream))
    return logger


async def test_lines_of_one_loop_iteration_are_one_write_in_the_next() -> None:
    stream = CountingStream()
    logger = logger_to(stream)
    for number in range(3):
        logger.info("line %d", number)
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert stream.getvalue() == "line 0\nline 1\nline 2\n"
    assert stream.writes == 1
    logger.info("line 3")
    await asyncio.sleep(0)
    assert stream.getvalue().endswith("line 3\n")


async def test_a_warning_is_written_at_once_after_the_waiting_lines() -> None:
    """A process may die from what it warns about."""
    stream = CountingStream()
    logger = logger_to(stream)
    logger.info("before")
    logger.warning("trouble")
    assert stream.getvalue() == "before\ntrouble\n"


def test_without_a_loop_every_line_is_written_at_once() -> None:
    stream = CountingStream()
    logger = logger_to(stream)
    logger.info("first")
    assert stream.getvalue() == "first\n"
    thread = threading.Thread(target=logger.info, args=("second",))
    thread.start()
    thread.join()
    assert stream.getvalue() == "first\nsecond\n"


def test_lines_left_by_a_closed_loop_are_written_with_the_next() -> None:
    """At the end of the process, `logging` flushes its handlers."""
    stream = CountingStream()
    logger = logger_to(stream)

    async def log(text: str) -> None:
        logger.info(text)

    asyncio.run(log("first"))
    asyncio.run(log("second"))
    logger.handlers[0].flush()
    assert stream.getvalue() == "first\nsecond\n"


async def test_a_closed_stream_raises_no_error() -> None:
    stream = CountingStream()
    logger = logger_to(stream)
    stream.close()
    logger.error("trouble")


async def test_a_record_that_cannot_be_formatted_does_not_affect_others() -> None:
    stream = CountingStream()
    logger = logger_to(stream)
    logging.raiseExceptions, before = False, logging.raiseExceptions
    try:
        logger.info("%d", "no number")
    finally:
        logging.raiseExceptions = before
    logger.info("after")
    await asyncio.sleep(0)
    assert stream.getvalue() == "after\n"
