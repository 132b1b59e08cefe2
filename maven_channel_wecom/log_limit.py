"""A brake for log lines that somebody outside can cause: each kind at most a few times in a while."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from maven_channel_wecom.clock import Clock

PERIOD_SECONDS: Final = 60.0
"""Lower: more lines in a flood. Higher: a new trouble of a known kind shows up later."""

LINES_PER_PERIOD: Final = 5
"""Of one kind: enough to see whether the first ones have something in common."""

MOST_LINES_PER_PERIOD: Final = 30
"""Of all kinds. Whoever mixes them gets hardly more; lower: two troubles at once hide each other's lines."""


class LogLimit:
    """Writes the first lines of each kind in a period; the first one after that says how many were left out.

    A kind is the event together with its reason, both from closed sets, so what is remembered here cannot grow. Once
    all kinds have had MOST_LINES_PER_PERIOD, only the first line of a kind is still written.

    Args:
        clock: the channel's.
        on_suppressed: called for each line that is left out.
    """

    def __init__(self, clock: Clock, on_suppressed: Callable[[], object]) -> None:
        self._clock = clock
        self._on_suppressed = on_suppressed
        self._started = clock.now()
        self._lines = 0
        self._written: Counter[tuple[str, object]] = Counter()
        self._left_out: Counter[tuple[str, object]] = Counter()

    def log(self, logger: logging.Logger, level: int, event: str, **fields: object) -> None:
        """Write a line, or only count it."""
        if not logger.isEnabledFor(level):
            return
        now = self._clock.now()
        if now - self._started >= PERIOD_SECONDS:
            self._started = now
            self._lines = 0
            self._written.clear()
        kind = (event, fields.get("reason"))
        lines = self._written[kind]
        if lines and (lines >= LINES_PER_PERIOD or self._lines >= MOST_LINES_PER_PERIOD):
            self._left_out[kind] += 1
            self._on_suppressed()
            return
        self._lines += 1
        self._written[kind] += 1
        if left_out := self._left_out.pop(kind, 0):
            fields["suppressed"] = left_out
        logger.log(level, event, extra={"fields": fields})
