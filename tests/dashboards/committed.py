"""The dashboards as they are committed, and the expressions they ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "dashboards"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}


class Asked(NamedTuple):
    """One expression of a panel."""

    dashboard: str
    panel: str
    expr: str


RUNBOOK = (FOLDER.parent / "docs" / "runbook.md").read_text(encoding="utf-8")


def pasted() -> list[str]:
    """Return the expressions that the runbook gives to paste."""
    return re.findall(r"```promql\n(.*?)\n```", RUNBOOK, re.DOTALL)


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that show something, without the rows."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def asked() -> Iterator[Asked]:
    """Yield every expression of every panel."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Asked(name, panel["title"], target["expr"])


def annotated() -> Iterator[Asked]:
    """Yield every expression of a vertical line. Most of the time they have no sample."""
    for name, dashboard in DASHBOARDS.items():
        for annotation in dashboard["annotations"]["list"]:
            yield Asked(name, annotation["name"], annotation["target"]["expr"])


def filled_in(expr: str, *, interval: str, shown: str) -> str:
    """Return an expression as Grafana sends it with All chosen everywhere."""
    for variable in ("channel", "job", "instance"):
        expr = expr.replace(f'"${variable}"', '".+"')
    return expr.replace("$__rate_interval", interval).replace("$__range", shown)


def named(expr: str) -> set[str]:
    """Return the metrics of an expression: what is left without labels, windows, functions and operators."""
    bare = re.sub(r"\{[^}]*\}|(?:by|without|on|ignoring) \([^)]*\)|\[[^]]*\]|offset \S+", " ", expr)
    words = re.findall(r"(?<![\w:$.])[a-z_][a-z0-9_:]*\b(?!\s*\()", bare)
    return set(words) - {"and", "or", "unless"}
