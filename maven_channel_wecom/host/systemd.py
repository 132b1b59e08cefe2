"""What a host tells systemd, if that started it: that it is ready, and how severe a line of its log is."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

_NOTIFY_SECONDS: Final = 1.0
"""Maximum time to wait for systemd to read earlier notifications. Lower: on a busy machine the start is not reported,
and fails. Higher: callbacks wait longer for a receiver that reads nothing."""

_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def report_ready() -> None:
    """Tell systemd that the start is complete, if it waits for that, as `Type=notify` makes it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A shell may have inherited the address of a service that is gone, or the process may have no such sockets.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
        notifying.settimeout(_NOTIFY_SECONDS)
        # "@" stands for the zero byte with which an abstract address begins.
        notifying.sendto(b"READY=1", f"\0{address[1:]}" if address[0] == "@" else address)


def is_journal(stream: TextIO) -> bool:
    """Return whether what is written to a stream goes to journald (JOURNAL_STREAM in systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_priority(text: str, level: int) -> str:
    """Put the priority of a level of `logging` before each line. journald removes it again (sd-daemon(3))."""
    prefix = f"<{_PRIORITIES.get(level, 6)}>"
    return prefix + text.replace("\n", f"\n{prefix}")


class JournalLines(logging.Formatter):
    """The lines of another formatter, each with the priority of its record."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return with_priority(self._lines.format(record), record.levelno)
