"""Finds time zones by name, and explains why one cannot be found. Reads files: do not call it on an event loop."""

import difflib
import re
import zoneinfo
from pathlib import Path


def parse_timezone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone. Raises ValueError."""
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
