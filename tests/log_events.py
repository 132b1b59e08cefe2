"""The table of log events in docs/operations.md, and the comparison of log records with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import logging

_PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
_ALWAYS = {"channel", "trail"}


class Documented(NamedTuple):
    """One row of the table. With `further_fields`, the event may have fields that the row does not name."""

    levels: set[str]
    limited: bool
    fields: set[str]
    further_fields: bool


def documented() -> dict[str, Documented]:
    """Return the rows of the table by event."""
    found = re.search(
        r"<!-- table: log events -->\n.*?\n\|[-|]+\|\n(.*?)<!-- end -->", _PAGE.read_text("utf-8"), re.DOTALL
    )
    assert found
    rows = {}
    for line in found[1].splitlines():
        event, levels, fields, _ = (cell.strip() for cell in line.strip("|").split("|"))
        words = set(levels.split(", "))
        rows[event.strip("`")] = Documented(
            words - {"limited"}, "limited" in words, set(re.findall(r"`(\w+)`", fields)), "facts" in fields
        )
    return rows


def difference(record: logging.LogRecord, table: dict[str, Documented]) -> str | None:
    """Return a description of how a log record of this package differs from the table, or None if it does not."""
    row = table.get(record.getMessage())
    if row is None:
        return f"the event {record.getMessage()!r}"
    if record.levelname.lower() not in row.levels:
        return f"the level {record.levelname} of {record.getMessage()!r}"
    allowed = _ALWAYS | row.fields | ({"suppressed"} if row.limited else set())
    unknown = set(getattr(record, "fields", {})) - allowed
    return f"the fields {unknown} of {record.getMessage()!r}" if unknown and not row.further_fields else None
