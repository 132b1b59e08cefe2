"""Computes when a cron job is due, from an interval such as `5m` or a five-field cron expression. Reads no clock."""

import difflib
import math
import re
import zoneinfo
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cronsim import CronSim, CronSimError

_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXPRESSION_FIELDS = 5
_EXPRESSION_CHARACTERS = 200
# Start of the search for whether an expression ever comes due. A fixed time gives the same result every day.
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
    zone: zoneinfo.ZoneInfo | None = None

    def next_due(self, after: datetime) -> datetime:
        """Return the first matching time later than `after`, with the same time zone; without one it is local time."""
        return next(CronSim(self.expression, after))


Schedule = Interval | Calendar


def parse_timezone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone. Raises ValueError. Reads files, so it must not be called on the event loop."""
    zone = _find_timezone(name)
    if zone is not None:
        return zone
    if _find_timezone("UTC") is None:
        reason = "cannot be found: this machine has no time zones; install the package tzdata"
        raise ValueError(reason)
    near = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1, cutoff=0.75)
    reason = f"is not a known time zone{f'; did you mean {near[0]}?' if near else ', such as Asia/Shanghai'}"
    raise ValueError(reason)


def machine_timezone_problem(variable: str) -> str | None:
    """Return the problem of a value of the environment variable TZ that names an unknown time zone, or None.

    The system takes such a name for UTC. A name without a digit is not a rule such as `CST-8`, which needs no file.
    """
    if not re.fullmatch(r":?[A-Za-z_/+-]+", variable) or _find_timezone(variable.removeprefix(":")):
        return None
    if Path(variable.removeprefix(":")).is_absolute():
        return None
    return "is required, because the environment variable TZ names an unknown time zone"


def _find_timezone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def parse_interval(text: str) -> Interval:
    """Parse an interval such as `30s`, `5m`, `2h` or `1d`. Raises ValueError."""
    match = _INTERVAL.fullmatch(text)
    if match is None:
        reason = 'must be a whole number and a unit, such as "30s", "5m", "2h" or "1d"'
        raise ValueError(reason)
    return Interval(int(match[1]) * _UNIT_SECONDS[match[2]])


def parse_calendar(text: str, zone: zoneinfo.ZoneInfo | None = None) -> Calendar:
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
