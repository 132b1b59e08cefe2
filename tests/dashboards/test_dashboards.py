"""Tests of the committed dashboards: the rules of Grafana's linter, and this project's own."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import objectives
from dashboards.alerts import ALERTS
from dashboards.files import files
from tests.dashboards.committed import DASHBOARDS, FOLDER, annotation_queries, fill_in_variables, panel_queries, panels
from tests.dashboards.promtool import promtool

if TYPE_CHECKING:
    from pathlib import Path

EVERY = [
    pytest.param(dashboard, panel, id=f"{name}: {panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in panels(dashboard)
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
MATCHERS = ('channel=~"$channel"', 'job=~"$job"', 'instance=~"$instance"')


def strings(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *strings(each))]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def test_the_committed_files_are_what_make_dashboards_writes() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} | {"wecom-rules.yml"} == set(files())
    for name, content in files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == content, name


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_key_of_a_dashboard_is_in_grafanas_schema(dashboard: dict[str, Any]) -> None:
    """A round trip through the types generated from Grafana's schema would drop unknown keys."""
    assert json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder)) == dashboard


@pytest.mark.parametrize(("uid", "dashboard"), DASHBOARDS.items(), ids=DASHBOARDS)
def test_a_dashboard_has_the_common_settings(uid: str, dashboard: dict[str, Any]) -> None:
    """Stable id, tags, a link to the other dashboard, a shared crosshair, a slow refresh, annotations of restarts."""
    assert dashboard["uid"] == uid
    assert dashboard["title"].startswith("Maven WeCom / ")
    assert dashboard["tags"] == ["maven-wecom"]
    assert dashboard["editable"] is False
    assert dashboard["graphTooltip"] == 1
    assert dashboard["refresh"] == "1m"
    assert dashboard["description"]
    (link,) = dashboard["links"]
    assert link["type"] == "dashboards"
    assert (link["tags"], link["includeVars"], link["keepTime"]) == (dashboard["tags"], True, True)
    (restarts,) = dashboard["annotations"]["list"]
    assert restarts["datasource"] == SOURCE
    assert all(matcher in restarts["target"]["expr"] for matcher in MATCHERS)
    assert "__inputs" not in dashboard
    assert not any("DS_PROMETHEUS" in text for text in strings(dashboard))


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_has_variables_for_data_source_channel_job_and_instance(dashboard: dict[str, Any]) -> None:
    """The last three allow several values, and are refreshed when the time range changes."""
    source, *chosen = dashboard["templating"]["list"]
    assert (source["name"], source["label"], source["type"], source["query"]) == (
        "datasource",
        "Data source",
        "datasource",
        "prometheus",
    )
    assert [variable["name"] for variable in chosen] == ["channel", "job", "instance"]
    for variable in chosen:
        assert variable["type"] == "query"
        assert variable["datasource"] == SOURCE
        assert variable["label"] == variable["name"].capitalize()
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["refresh"] == 2, "when the time range changes"
        assert variable["query"]["query"].startswith("label_values(maven_wecom_build_info")
        assert variable["query"]["query"].endswith(f", {variable['name']})")


@pytest.mark.parametrize(("dashboard", "panel"), EVERY)
def test_a_panel_is_complete_and_does_not_overlap(dashboard: dict[str, Any], panel: dict[str, Any]) -> None:
    """Complete means a title, a description, a unit, the data source and at least one query."""
    assert panel["title"]
    assert len(panel["description"]) > 10
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    assert panel["type"] in {"stat", "timeseries"}
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    for other in dashboard["panels"]:
        if other is not panel:
            assert other["id"] != panel["id"]
            there = other["gridPos"]
            beside = place["x"] >= there["x"] + there["w"] or there["x"] >= place["x"] + place["w"]
            above = place["y"] >= there["y"] + there["h"] or there["y"] >= place["y"] + place["h"]
            assert beside or above, other["title"]


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_the_panels_of_a_row_fill_its_width_and_have_one_height(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in panels(dashboard)]
    for top in {place["y"] for place in places}:
        row = [place for place in places if place["y"] == top]
        assert sum(place["w"] for place in row) == 24
        assert len({place["h"] for place in row}) == 1


@pytest.mark.parametrize(("dashboard", "panel"), EVERY)
def test_a_query_uses_the_variables_and_takes_rates_of_counters(
    dashboard: dict[str, Any], panel: dict[str, Any]
) -> None:
    """Windows are `$__rate_interval` for lines, and `$__range` for a single number."""
    for target in panel["targets"]:
        expr = target["expr"]
        assert target["datasource"] == SOURCE
        assert target["legendFormat"]
        assert all(matcher in expr for matcher in MATCHERS)
        for counter in re.finditer(r"\b\w+_total\b|\b\w+_(?:count|sum|bucket)\b", expr):
            assert re.search(r"\b(rate|increase)\($", expr[: counter.start()]), counter[0]
        windows = set(re.findall(r"\[([^]]+)\]", expr)) - {"1d"}
        assert windows <= ({"$__range"} if panel["type"] == "stat" else {"$__rate_interval"})
        assert target.get("instant", False) == (panel["type"] == "stat")


@pytest.mark.parametrize(("dashboard", "panel"), EVERY)
def test_the_legends_of_a_panel_distinguish_its_lines(dashboard: dict[str, Any], panel: dict[str, Any]) -> None:
    """Each query has a unique id and legend, and the legend contains the labels that the query keeps."""
    targets = panel["targets"]
    assert len({target["refId"] for target in targets}) == len(targets)
    assert len({target["legendFormat"] for target in targets}) == len(targets)
    for target in targets:
        for by in re.findall(r"sum by \(([a-z, ]+)\)", target["expr"]):
            labels = set(by.split(", ")) - {"le"}
            assert all(f"{{{{{label}}}}}" in target["legendFormat"] for label in labels)


def test_every_query_is_valid_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:maven_wecom:{number}", "expr": fill_in_variables(panel.expr, interval="1m", time_range="6h")}
        for number, panel in enumerate((*panel_queries(), *annotation_queries()))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_threshold_in_a_panel_is_one_of_the_alerts() -> None:
    numbers = {value for name, value in vars(objectives).items() if name.isupper() and isinstance(value, int | float)}
    numbers |= {objective.seconds for objective in objectives.OBJECTIVES}
    numbers |= {objective.share for objective in objectives.OBJECTIVES}
    numbers |= {burn.factor for burn in objectives.BURNS}
    # 0: the budget is spent. 1: one delivery was skipped.
    numbers |= {0, 1}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
                assert step["value"] is None or step["value"] in numbers, panel["title"]


def test_every_threshold_is_defined_once_and_used_by_an_alert() -> None:
    expressions = " ".join(alert.expr for alert in ALERTS)
    for name, value in vars(objectives).items():
        if name.isupper() and isinstance(value, int | float):
            assert re.search(rf"(?<![\w.]){re.escape(f'{value:g}')}(?![\w.])", expressions), name
            assert len(re.findall(rf"^{name}\b", inspect.getsource(objectives), re.MULTILINE)) == 1


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_the_documents_show_a_small_preview_and_call_it_one(uid: str) -> None:
    documents = FOLDER.parent / "docs"
    page = (documents / "monitoring.md").read_text(encoding="utf-8")
    picture = documents / f"preview-{uid}.png"
    assert f"]({picture.name})" in page
    assert "not a Grafana rendering" in page
    assert 20_000 < picture.stat().st_size < 420_000
