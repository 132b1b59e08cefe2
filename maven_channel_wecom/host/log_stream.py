"""Formats and writes log records, all of one event-loop iteration together, which costs half as much."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TextIO


class LogStream(logging.StreamHandler[TextIO]):
    """Writes records to a stream, in order.

    A record is written in the next iteration of the event loop. A warning, and a record from a thread without a loop,
    is written at once, after all records still waiting.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[logging.LogRecord] = []
        # The event loop that will flush them.
        self._flushing_loop: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or leave it to the next flush. `logging.Handler` holds the lock."""
        self._waiting.append(record)
        if record.levelno >= logging.WARNING or not self._schedule_flush():
            self.flush()

    def flush(self) -> None:
        """Write all waiting records."""
        self.acquire()
        try:
            records, self._waiting, self._flushing_loop = self._waiting, [], None
            lines = "".join(map(self._line, records))
            # Lines for a closed or broken stream are lost: there is nowhere left to report it.
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(lines)
                self.stream.flush()
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + self.terminator
        except Exception:  # noqa: BLE001 - as in every handler: a bad record must not stop its caller
            self.handleError(record)
            return ""

    def _schedule_flush(self) -> bool:
        """Schedule a flush on the running event loop, or return False if there is none."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._flushing_loop is not loop:
            self._flushing_loop = loop
            loop.call_soon(self.flush)
        return True
