"""When a cron job is due: an interval such as `5m`, or a cron expression of five fields. Reads no clock."""

import math
import re
from datetime import datetime
from typing import Final

import msgspec
from cronsim import CronSim, CronSimError

_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXPRESSION_FIELDS = 5
_EXPRESSION_CHARACTERS = 200
# Any moment will do to see whether an expression ever comes due; a fixed one keeps the answer the same every day.
_SOME_MOMENT = datetime(2024, 1, 1)  # noqa: DTZ001 -- expressions are about local wall-clock time, which has no zone here


class Interval(msgspec.Struct, frozen=True):
    """Due again and again, `seconds` apart."""

    seconds: int

    def next_due(self, due: float, now: float) -> float:
        """Return the first moment of the grid through `due` after it and not before `now`, on the same clock."""
        return due + self.seconds * max(1, math.ceil((now - due) / self.seconds))


class Calendar(msgspec.Struct, frozen=True):
    """Due whenever a cron expression says so, in the local time of this machine."""

    expression: str

    def next_due(self, after: datetime) -> datetime:
        """Return the first moment after `after`, both naive local time."""
        return next(CronSim(self.expression, after))


Schedule = Interval | Calendar


def parse_interval(text: str) -> Interval:
    """Read `30s`, `5m`, `2h` or `1d`. Raises ValueError on anything else."""
    match = _INTERVAL.fullmatch(text)
    if match is None:
        reason = 'must be a whole number and a unit, such as "30s", "5m", "2h" or "1d"'
        raise ValueError(reason)
    return Interval(int(match[1]) * _UNIT_SECONDS[match[2]])


def parse_calendar(text: str) -> Calendar:
    """Read a cron expression. Raises ValueError when it has not five good fields or never comes due."""
    if len(text.split()) != _EXPRESSION_FIELDS or len(text) > _EXPRESSION_CHARACTERS:
        reason = 'must be a cron expression of five fields, such as "0 9 * * 1-5"'
        raise ValueError(reason)
    calendar = Calendar(text)
    try:
        calendar.next_due(_SOME_MOMENT)
    except (CronSimError, StopIteration) as error:
        # The iterator stops where it finds no date in fifty years.
        reason = f"is not a cron expression: {str(error).lower() or 'it never comes due'}"
        raise ValueError(reason) from None
    return calendar
