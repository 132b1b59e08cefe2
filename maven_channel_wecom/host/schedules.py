"""Computes when a cron job is due, from an interval such as `5m` or a five-field cron expression. Reads no clock."""

import math
import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXPRESSION_FIELDS = 5
_EXPRESSION_CHARACTERS = 200
# The time from which to search for a due time. A fixed time gives the same result every day.
_SEARCH_START = datetime(2024, 1, 1)  # noqa: DTZ001 -- expressions are about local wall-clock time, which has no zone here


class Interval(msgspec.Struct, frozen=True):
    """A schedule that comes due every `seconds`."""

    seconds: int

    def next_due(self, due: float, now: float) -> float:
        """Return the first time `due + n * seconds`, n at least 1, that is not before `now`; both on one clock."""
        return due + self.seconds * max(1, math.ceil((now - due) / self.seconds))


class Calendar(msgspec.Struct, frozen=True):
    """A schedule that comes due when a cron expression matches the time in `zone`; None: that of this machine."""

    expression: str
    zone: ZoneInfo | None = None

    def next_due(self, after: datetime) -> datetime:
        """Return the first matching time later than `after`, with the same time zone; without one it is local time."""
        return next(CronSim(self.expression, after))


Schedule = Interval | Calendar


def parse_interval(text: str) -> Interval:
    """Parse an interval such as `30s`, `5m`, `2h` or `1d`. Raises ValueError."""
    match = _INTERVAL.fullmatch(text)
    if match is None:
        reason = 'must be a whole number and a unit, such as "30s", "5m", "2h" or "1d"'
        raise ValueError(reason)
    return Interval(int(match[1]) * _UNIT_SECONDS[match[2]])


def parse_calendar(text: str, zone: ZoneInfo | None = None) -> Calendar:
    """Parse a cron expression. Raises ValueError unless it has five valid fields and comes due at some time."""
    if len(text.split()) != _EXPRESSION_FIELDS or len(text) > _EXPRESSION_CHARACTERS:
        reason = 'must be a cron expression of five fields, such as "0 9 * * 1-5"'
        raise ValueError(reason)
    calendar = Calendar(text, zone)
    try:
        calendar.next_due(_SEARCH_START)
    except (CronSimError, StopIteration) as error:
        # The iterator stops if it finds no date within fifty years.
        reason = f"is not a cron expression: {str(error).lower() or 'it never comes due'}"
        raise ValueError(reason) from None
    return calendar
