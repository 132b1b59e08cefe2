"""The dashboards as Grafana gets them: what its linter asks for, and what this house asks for."""

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
from tests.dashboards.committed import DASHBOARDS, FOLDER, annotated, asked, filled_in, panels
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


def test_the_files_are_what_the_code_makes() -> None:
    """Byte for byte: `make dashboards` was run after the last change."""
    assert {path.name for path in FOLDER.glob("*.json")} | {"wecom-rules.yml"} == set(files())
    for name, content in files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == content, name


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_nothing_in_a_dashboard_is_unknown_to_grafana(dashboard: dict[str, Any]) -> None:
    """Read by the types made from Grafana's own schema and written again, it is the same: no key was dropped."""
    assert json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder)) == dashboard


@pytest.mark.parametrize(("uid", "dashboard"), DASHBOARDS.items(), ids=DASHBOARDS)
def test_a_dashboard_has_what_every_dashboard_has(uid: str, dashboard: dict[str, Any]) -> None:
    """A name that lasts, tags, a way to the other one, one crosshair, and a pace that Prometheus can bear."""
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
def test_a_dashboard_lets_the_reader_choose(dashboard: dict[str, Any]) -> None:
    """A data source, then channels, jobs and instances, any number of each, as they are at the time shown."""
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
        assert variable["refresh"] == 2, "on a change of the time shown"
        assert variable["query"]["query"].startswith("label_values(maven_wecom_build_info")
        assert variable["query"]["query"].endswith(f", {variable['name']})")


@pytest.mark.parametrize(("dashboard", "panel"), EVERY)
def test_a_panel_says_what_it_is(dashboard: dict[str, Any], panel: dict[str, Any]) -> None:
    """Title, description, unit, data source, at least one query, and no place that another one has."""
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
def test_rows_are_full(dashboard: dict[str, Any]) -> None:
    """No hole beside a panel, and none below."""
    places = [panel["gridPos"] for panel in panels(dashboard)]
    for top in {place["y"] for place in places}:
        row = [place for place in places if place["y"] == top]
        assert sum(place["w"] for place in row) == 24
        assert len({place["h"] for place in row}) == 1


@pytest.mark.parametrize(("dashboard", "panel"), EVERY)
def test_a_query_asks_for_what_the_reader_chose(dashboard: dict[str, Any], panel: dict[str, Any]) -> None:
    """Of counters it asks for rates, over the interval Grafana finds right, or, for a single number, the time shown."""
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
def test_lines_are_told_apart(dashboard: dict[str, Any], panel: dict[str, Any]) -> None:
    """Queries of one panel have letters and legends of their own, and a legend names the labels that are left."""
    targets = panel["targets"]
    assert len({target["refId"] for target in targets}) == len(targets)
    assert len({target["legendFormat"] for target in targets}) == len(targets)
    for target in targets:
        for by in re.findall(r"sum by \(([a-z, ]+)\)", target["expr"]):
            labels = set(by.split(", ")) - {"le"}
            assert all(f"{{{{{label}}}}}" in target["legendFormat"] for label in labels)


def test_every_query_is_promql(tmp_path: Path) -> None:
    """As Prometheus reads it once the variables are filled in."""
    rules = [
        {"record": f"panel:maven_wecom:{number}", "expr": filled_in(panel.expr, interval="1m", shown="6h")}
        for number, panel in enumerate((*asked(), *annotated()))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_limit_in_a_panel_is_the_limit_of_an_alert() -> None:
    """Red begins where somebody is told: every threshold is a number of the alerts."""
    numbers = {value for name, value in vars(objectives).items() if name.isupper() and isinstance(value, int | float)}
    numbers |= {objective.seconds for objective in objectives.OBJECTIVES}
    numbers |= {objective.share for objective in objectives.OBJECTIVES}
    numbers |= {burn.factor for burn in objectives.BURNS}
    # Nothing left of a budget; one delivery skipped.
    numbers |= {0, 1}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
                assert step["value"] is None or step["value"] in numbers, panel["title"]


def test_every_threshold_is_used_by_an_alert() -> None:
    """And every number of the alerts is written once, in one file."""
    expressions = " ".join(alert.expr for alert in ALERTS)
    for name, value in vars(objectives).items():
        if name.isupper() and isinstance(value, int | float):
            assert re.search(rf"(?<![\w.]){re.escape(f'{value:g}')}(?![\w.])", expressions), name
            assert len(re.findall(rf"^{name}\b", inspect.getsource(objectives), re.MULTILINE)) == 1


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_preview_stands_in_the_documents(uid: str) -> None:
    """Small enough to be kept, and said to be what it is."""
    documents = FOLDER.parent / "docs"
    page = (documents / "monitoring.md").read_text(encoding="utf-8")
    picture = documents / f"preview-{uid}.png"
    assert f"]({picture.name})" in page
    assert "not a Grafana rendering" in page
    assert 20_000 < picture.stat().st_size < 320_000
