"""The committed dashboards and runbook, and the PromQL expressions in them."""

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


class Query(NamedTuple):
    """One expression in a dashboard."""

    dashboard: str
    panel: str
    expr: str


RUNBOOK = (FOLDER.parent / "docs" / "runbook.md").read_text(encoding="utf-8")


def runbook_queries() -> list[str]:
    """Return the expressions that readers of the runbook paste into Prometheus."""
    return re.findall(r"```promql\n(.*?)\n```", RUNBOOK, re.DOTALL)


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of a dashboard, without its rows."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def panel_queries() -> Iterator[Query]:
    """Yield every expression of every panel."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Query(name, panel["title"], target["expr"])


def annotation_queries() -> Iterator[Query]:
    """Yield every expression of an annotation. Most of the time these have no sample."""
    for name, dashboard in DASHBOARDS.items():
        for annotation in dashboard["annotations"]["list"]:
            yield Query(name, annotation["name"], annotation["target"]["expr"])


def fill_in_variables(expr: str, *, interval: str, time_range: str) -> str:
    """Return an expression as Grafana sends it when All is selected in every variable."""
    for variable in ("channel", "job", "instance"):
        expr = expr.replace(f'"${variable}"', '".+"')
    return expr.replace("$__rate_interval", interval).replace("$__range", time_range)


def metric_names(expr: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    bare = re.sub(r"\{[^}]*\}|(?:by|without|on|ignoring) \([^)]*\)|\[[^]]*\]|offset \S+", " ", expr)
    words = re.findall(r"(?<![\w:$.])[a-z_][a-z0-9_:]*\b(?!\s*\()", bare)
    return set(words) - {"and", "or", "unless"}
