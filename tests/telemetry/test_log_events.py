"""The log lines the code can write are those the documents list."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from tests.log_events import documented

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1] / "maven_channel_wecom"
LEVELS = {"debug", "info", "warning", "error"}
# Tools of one person at a time, who reads what they print.
TOOLS = {"simulator", "doctor"}


def written() -> Iterator[tuple[str, str]]:
    """Yield the event and the level of every call that writes a line."""
    for path in PACKAGE.rglob("*.py"):
        if TOOLS.isdisjoint(path.relative_to(PACKAGE).parts):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield from event_of(node, node.func.attr)


def event_of(call: ast.Call, method: str) -> Iterator[tuple[str, str]]:
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if method in {"step", "_log"} and texts:
        (level,) = (arg.attr for arg in call.args if isinstance(arg, ast.Attribute) and arg.attr.isupper())
        yield texts[0], level.lower()
    elif method in LEVELS | {"exception"} and texts and ast.unparse(call.func).startswith("logger."):
        yield texts[0], "error" if method == "exception" else method


def test_every_event_is_documented_with_its_level_and_none_is_made_up() -> None:
    """An operator who greps for what the page says finds it."""
    found: dict[str, set[str]] = {}
    for event, level in written():
        found.setdefault(event, set()).add(level)
    assert found == {event: row.levels for event, row in documented().items()}
