"""Renders a dashboard as a self-contained HTML page with data from a Prometheus, roughly as Grafana would."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.dashboards.committed import fill_in_variables

if TYPE_CHECKING:
    from tests.fakes.prometheus_server import PrometheusServer

_ASSETS = Path(__file__).parent / "preview"
NO_DATA = '<div class="none">'
"""HTML that begins the content of a panel without data."""

ROW_PIXELS = 34
"""Height of a row of Grafana's grid, including the gap below it."""


@dataclass(frozen=True, kw_only=True)
class TimeRange:
    """A time range in seconds since the epoch, its resolution, and the value of `$__rate_interval`."""

    start: float
    end: float
    step: float
    interval: str

    def fill_in(self, expr: str) -> str:
        return fill_in_variables(expr, interval=self.interval, time_range=f"{self.end - self.start:.0f}s")


async def render_page(
    dashboard: dict[str, Any], prometheus: PrometheusServer, time_range: TimeRange, *, note: str
) -> str:
    """Return an HTML page without external resources."""
    made = [await _panel(panel, prometheus, time_range) for panel in dashboard["panels"] if panel["type"] != "row"]
    by_id = {panel["id"]: panel for panel in made}
    body = "".join(_place(panel, by_id.get(panel["id"])) for panel in dashboard["panels"])
    style = (_ASSETS / "uPlot.min.css").read_text(encoding="utf-8") + (_ASSETS / "page.css").read_text(encoding="utf-8")
    library = (_ASSETS / "uPlot.iife.min.js").read_text(encoding="utf-8")
    script = (_ASSETS / "page.js").read_text(encoding="utf-8")
    data = json.dumps(made).replace("</", "<\\/")
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(dashboard["title"])}</title><style>{style}</style>'
        f"<header><h1>{html.escape(dashboard['title'])}</h1><p>{html.escape(note)}</p></header><main>{body}</main>"
        f"<script>{library}</script><script>const PANELS = {data};</script><script>{script}</script>"
    )


async def _panel(panel: dict[str, Any], prometheus: PrometheusServer, time_range: TimeRange) -> dict[str, Any]:
    """Return the data from which the page's script draws a panel."""
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]
    common = {"id": panel["id"], "unit": defaults["unit"], "none": defaults.get("noValue", "no data")}
    if panel["type"] == "stat":
        (target,) = panel["targets"]
        samples = await prometheus.query(time_range.fill_in(target["expr"]))
        named = panel["options"]["textMode"] == "name"
        plain = panel["options"]["colorMode"] == "none"
        return common | {
            "stats": [
                {
                    "value": value,
                    "name": "" if named or len(samples) == 1 else _legend(target["legendFormat"], labels),
                    "text": _legend(target["legendFormat"], labels) if named else _word(defaults, value),
                    "color": "plain" if plain else _color(defaults, steps, value),
                }
                for labels, value in sorted(samples, key=lambda sample: sorted(sample[0].items()))
            ]
        }
    times = [
        time_range.start + time_range.step * number
        for number in range(int((time_range.end - time_range.start) / time_range.step) + 1)
    ]
    legends, series = [], []
    for target in panel["targets"]:
        found = await prometheus.query_range(
            time_range.fill_in(target["expr"]), start=time_range.start, end=time_range.end, step=time_range.step
        )
        for labels, values in sorted(found, key=lambda each: sorted(each[0].items())):
            at = {round(time, 3): value for time, value in values if value == value}  # noqa: PLR0124 - no NaN
            legends.append(_legend(target["legendFormat"], labels))
            series.append([at.get(round(time, 3)) for time in times])
    custom = defaults.get("custom", {})
    dashed = custom.get("thresholdsStyle", {}).get("mode") == "dashed"
    return common | {
        "times": times,
        "legends": legends,
        "series": series,
        "stacked": custom.get("stacking", {}).get("mode") == "normal",
        "limit": steps[1]["value"] if dashed else None,
        "lowest": custom.get("axisSoftMin"),
        "highest": custom.get("axisSoftMax"),
    }


def _place(panel: dict[str, Any], made: dict[str, Any] | None) -> str:
    at = panel["gridPos"]
    where = f"grid-column: {at['x'] + 1} / span {at['w']}; grid-row: {at['y'] + 1} / span {at['h']}"
    if made is None:
        return f'<h2 style="{where}">{html.escape(panel["title"])}</h2>'
    if not made.get("stats") and not made.get("series"):
        inside = f"{NO_DATA}{html.escape(made['none'])}</div>"
    elif "stats" in made:
        long = " long" if panel["gridPos"]["w"] < 3 else ""
        inside = "".join(
            f'<div class="stat {stat["color"]}{long}"><b id="stat-{made["id"]}-{number}"></b>'
            f"<span>{html.escape(stat['name'])}</span></div>"
            for number, stat in enumerate(made["stats"])
        )
        inside = f'<div class="stats">{inside}</div>'
    else:
        inside = f'<div class="plot" id="panel-{made["id"]}"></div><div class="legend" id="legend-{made["id"]}"></div>'
    return f'<section style="{where}"><h3>{html.escape(panel["title"])}</h3>{inside}</section>'


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


def _mapping(defaults: dict[str, Any], value: float) -> dict[str, Any]:
    for mapping in defaults.get("mappings", []):
        if found := mapping["options"].get(f"{value:g}"):
            return dict(found)
    return {}


def _word(defaults: dict[str, Any], value: float) -> str | None:
    return _mapping(defaults, value).get("text")


def _color(defaults: dict[str, Any], steps: list[dict[str, Any]], value: float) -> str:
    if word := _mapping(defaults, value):
        return str(word["color"])
    return str([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])
