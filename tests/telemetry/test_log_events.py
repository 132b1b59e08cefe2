"""The log events in the code are those that docs/operations.md lists."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from tests.log_events import documented

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "maven_channel_wecom"
LEVELS = {"debug", "info", "warning", "error"}
# Interactive tools, whose output is not listed.
TOOLS = {"simulator", "doctor"}


def log_calls() -> Iterator[tuple[str, str]]:
    """Yield the event and the level of every call in the package that writes a log line."""
    for path in PACKAGE.rglob("*.py"):
        if TOOLS.isdisjoint(path.relative_to(PACKAGE).parts):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    yield from lines_of(node)


def lines_of(call: ast.Call) -> Iterator[tuple[str, str]]:
    """Yield the event and the level written by a call of `logger.info`, or of any function given a level and a text."""
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    levels = [name for name in map(level_of, call.args) if name in LEVELS]
    if texts and levels:
        yield texts[0], levels[0]
    method = ast.unparse(call.func).removeprefix("logger.")
    if texts and ast.unparse(call.func).startswith("logger.") and method in LEVELS | {"exception"}:
        yield texts[0], "error" if method == "exception" else method


def level_of(argument: ast.expr) -> str:
    """Return `info` for `logging.INFO` and for `INFO`."""
    name = argument.attr if isinstance(argument, ast.Attribute) else getattr(argument, "id", "")
    return name.lower() if name.isupper() else ""


def test_the_log_events_in_the_code_are_the_documented_ones() -> None:
    """Each has the documented levels."""
    found: dict[str, set[str]] = {}
    for event, level in log_calls():
        found.setdefault(event, set()).add(level)
    table = {event: row.levels for event, row in documented().items()}
    differing = sorted(event for event in found | table if found.get(event) != table.get(event))
    assert not differing, f"the code and the table of log events in docs/operations.md differ: {', '.join(differing)}"
