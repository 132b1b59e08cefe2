"""Limits the log lines that a stranger can cause."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

PERIOD_SECONDS: Final = 60.0
"""Lower: more lines in a flood. Higher: a new trouble of a known kind shows up later."""

LINES_PER_PERIOD: Final = 5
"""Of one kind. Lower: nobody sees what the first ones have in common. Higher: more lines in a flood."""

MAX_LINES_PER_PERIOD: Final = 30
"""Of all kinds together. Lower: two troubles at once hide each other's lines. Higher: more lines in a mixed flood."""


class LogLimit:
    """Writes the first lines of each kind in a period; the first one after that says how many were suppressed.

    A kind is the text of a line with its field `reason`. Both are from closed sets, so what is remembered here cannot
    grow. After MAX_LINES_PER_PERIOD lines only the first one of each kind is still written.

    Args:
        now: returns the time in seconds.
        on_suppressed: called for each line that is not written.
    """

    def __init__(self, now: Callable[[], float], on_suppressed: Callable[[], object]) -> None:
        self._now = now
        self._on_suppressed = on_suppressed
        self._period_started = now()
        self._lines = 0
        self._written: Counter[tuple[str, object]] = Counter()
        self._suppressed: Counter[tuple[str, object]] = Counter()

    def log(self, logger: logging.Logger, level: int, text: str, **fields: object) -> None:
        """Write a line or suppress it. A line whose level is off is neither."""
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
