"""A brake for log lines that somebody outside can cause: each kind at most a few times in a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from maven_channel_wecom.clock import Clock

PERIOD_SECONDS: Final = 60.0
"""Lower: more lines in a flood. Higher: a new trouble of a known kind shows up later."""

LINES_PER_PERIOD: Final = 5
"""Enough to see whether the first ones have something in common."""


class LogLimit:
    """Writes the first lines of each kind in a period; the first one after that says how many were left out.

    A kind is the event together with its reason, both from closed sets, so what is remembered here cannot grow.

    Args:
        clock: the channel's.
        on_suppressed: called for each line that is left out.
    """

    def __init__(self, clock: Clock, on_suppressed: Callable[[], object]) -> None:
        self._clock = clock
        self._on_suppressed = on_suppressed
        self._periods: dict[tuple[str, object], tuple[float, int]] = {}

    def log(self, logger: logging.Logger, level: int, event: str, **fields: object) -> None:
        """Write a line, or only count it."""
        kind = (event, fields.get("reason"))
        now = self._clock.now()
        started, lines = self._periods.get(kind, (now, 0))
        if now - started >= PERIOD_SECONDS:
            suppressed = max(0, lines - LINES_PER_PERIOD)
            started, lines = now, 0
            if suppressed:
                fields["suppressed"] = suppressed
        self._periods[kind] = (started, lines + 1)
        if lines < LINES_PER_PERIOD:
            logger.log(level, event, extra={"fields": fields})
        else:
            self._on_suppressed()
