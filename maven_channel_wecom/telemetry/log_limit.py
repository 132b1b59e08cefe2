"""Rate limit for log lines that clients can cause at will."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

PERIOD_SECONDS: Final = 60.0
"""Length of a period, in seconds. Lower: more lines in a flood. Higher: a new problem of a known kind shows later."""

LINES_PER_PERIOD: Final = 5
"""Maximum lines of one kind per period. Lower: fewer examples of a problem. Higher: more lines in a flood."""

MAX_LINES_PER_PERIOD: Final = 30
"""Maximum lines of all kinds per period; the first line of each kind is written in any case. Lower: two problems at
once suppress each other's lines. Higher: more lines in a mixed flood."""


class LogLimit:
    """Writes the first lines of each kind in a period. The first one in a later period adds the number suppressed.

    The kind of a line is its text and its field `reason`. Both have a fixed set of values, which bounds the memory used
    here. After MAX_LINES_PER_PERIOD lines in a period, only the first line of each kind is written.

    Args:
        now: returns the time in seconds.
        on_suppressed: called for each suppressed line.
    """

    def __init__(self, now: Callable[[], float], on_suppressed: Callable[[], object]) -> None:
        self._now = now
        self._on_suppressed = on_suppressed
        self._period_started = now()
        self._lines = 0
        self._written: Counter[tuple[str, object]] = Counter()
        self._suppressed: Counter[tuple[str, object]] = Counter()

    def log(self, logger: logging.Logger, level: int, text: str, **fields: object) -> None:
        """Write or suppress a line. A line whose level is off is ignored."""
        if not logger.isEnabledFor(level):
            return
        now = self._now()
        if now - self._period_started >= PERIOD_SECONDS:
            self._period_started = now
            self._lines = 0
            self._written.clear()
        kind = (text, fields.get("reason"))
        lines = self._written[kind]
        if lines and (lines >= LINES_PER_PERIOD or self._lines >= MAX_LINES_PER_PERIOD):
            self._suppressed[kind] += 1
            self._on_suppressed()
            return
        self._lines += 1
        self._written[kind] += 1
        if suppressed := self._suppressed.pop(kind, 0):
            fields["suppressed"] = suppressed
        logger.log(level, text, extra={"fields": fields})
