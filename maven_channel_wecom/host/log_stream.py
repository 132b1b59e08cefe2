"""Where log lines are made and written: all of one turn of the event loop at once, which costs half as much."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TextIO


class LogStream(logging.StreamHandler[TextIO]):
    """Writes lines to a stream in the order they came.

    A record waits until the loop has done what it is doing, no longer than a caller waits for an answer. A warning, and
    a record of a thread without a loop, goes out at once, with all that wait.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[logging.LogRecord] = []
        # The loop that was asked to write them.
        self._asked: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler, which holds the lock meanwhile."""
        self._waiting.append(record)
        if record.levelno >= logging.WARNING or not self._ask():
            self.flush()

    def flush(self) -> None:
        """Write all that wait."""
        self.acquire()
        try:
            records, self._waiting, self._asked = self._waiting, [], None
            lines = "".join(map(self._line, records))
            # A stream that is gone takes its lines along: there is nowhere left to say so.
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(lines)
                self.stream.flush()
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + self.terminator
        except Exception:  # noqa: BLE001 - as every handler does: a line that cannot be made must not stop the work
            self.handleError(record)
            return ""

    def _ask(self) -> bool:
        """Have the loop write what waits; False when there is no loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._asked is not loop:
            self._asked = loop
            loop.call_soon(self.flush)
        return True
