"""Tests of the rules: Prometheus accepts them, and each alert fires exactly when it should."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts import ALERTS
from dashboards.files import RUNBOOK
from dashboards.rules import recordings
from tests.dashboards.committed import metric_names
from tests.dashboards.promtool import promtool
from tests.dashboards.rule_cases import CASES, Case

FILE = Path(__file__).parents[2] / "dashboards" / "wecom-rules.yml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
BY_NAME = {alert.name: alert for alert in ALERTS}


def rules_for(name: str) -> dict[str, Any]:
    """Return one alert of the committed file with the recording rules it needs; without the others tests are faster."""
    (alert,) = [rule for group in DOCUMENT["groups"] for rule in group["rules"] if rule.get("alert") == name]
    recorded = [rule for rule in DOCUMENT["groups"][0]["rules"] if "job_channel:" in alert["expr"]]
    return {"groups": [{"name": name, "rules": [*recorded, alert]}]}


def written(case: Case, rules: Path) -> dict[str, Any]:
    """Return a case in the form that promtool reads."""
    alert = BY_NAME[case.alert]
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": case.interval,
        "tests": [
            {
                "interval": case.interval,
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "alert_rule_test": [
                    {
                        "eval_time": case.at,
                        "alertname": case.alert,
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": alert.severity, **labels},
                                "exp_annotations": {
                                    "summary": alert.summary,
                                    "description": description,
                                    "runbook_url": f"{RUNBOOK}#{alert.anchor}",
                                },
                            }
                            for labels, description in case.fires
                        ],
                    }
                ],
            }
        ],
    }


def test_the_rules_pass_every_lint_of_promtool() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    """Durations, thresholds and texts are those of the committed file."""
    for name in BY_NAME:
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(rules_for(name)), encoding="utf-8")
    files = []
    for number, case in enumerate(CASES):
        files.append(tmp_path / f"{number:02}-{case.alert}.yml")
        files[-1].write_text(yaml.safe_dump(written(case, tmp_path / f"{case.alert}.yml")), encoding="utf-8")
    done = promtool("test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=[case.alert for case in CASES])
def test_a_case_has_every_series_its_alert_needs(case: Case) -> None:
    """Otherwise an alert could stay silent for the wrong reason."""
    recorded = {recording.record: recording.expr for recording in recordings()}
    names, needed = {BY_NAME[case.alert].expr}, set[str]()
    while names:
        found = {name for expr in names for name in metric_names(expr)}
        names = {recorded[name] for name in found & set(recorded)}
        needed |= found - set(recorded)
    assert needed <= {series.partition("{")[0] for series in case.series}


@pytest.mark.parametrize("alert", ALERTS, ids=BY_NAME)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: Any) -> None:  # noqa: ANN401 - an Alert
    fires = [bool(case.fires) for case in CASES if case.alert == alert.name]
    assert set(fires) == {True, False}


@pytest.mark.parametrize("alert", ALERTS, ids=BY_NAME)
def test_an_alert_is_complete_and_well_formed(alert: Any) -> None:  # noqa: ANN401 - an Alert
    """The summary has no values, and the description formats its value for people."""
    assert re.fullmatch(r"WeCom([A-Z][a-z]+)+", alert.name)
    assert alert.severity in {"critical", "warning", "info"}
    assert re.fullmatch(r"[1-9][0-9]*[mh]", alert.wait)
    assert "{{" not in alert.summary
    assert not re.search(r"\d", alert.summary)
    assert alert.summary.endswith(".")
    assert alert.description.endswith(".")
    values = re.findall(r"\{\{ \$value(.*?) \}\}", alert.description)
    assert all(value.startswith(" | humanize") for value in values)


@pytest.mark.parametrize("alert", ALERTS, ids=BY_NAME)
def test_a_description_names_the_window_of_the_expression(alert: Any) -> None:  # noqa: ANN401 - an Alert
    """For example, "the last 15 minutes" requires `[15m]`."""
    units = {"minutes": "m", "hour": "h"}
    for number, unit in re.findall(r"last (?:(\d+) )?(minutes|hour)", alert.description):
        assert f"[{number or 1}{units[unit]}]" in alert.expr


def test_names_of_alerts_are_unique() -> None:
    assert len(BY_NAME) == len(ALERTS)


def test_recorded_series_follow_the_naming_convention() -> None:
    """The convention is `level:metric:operations`, where the level is the labels that remain."""
    for recording in recordings():
        assert re.fullmatch(r"job_channel:maven_wecom_[a-z_]+:(rate|ratio_rate)(5m|30m|1h|6h|3d)", recording.record)
        assert "_total" not in recording.record


def test_every_recorded_series_is_used() -> None:
    text = FILE.read_text(encoding="utf-8")
    for recording in recordings():
        uses = len(re.findall(rf"{re.escape(recording.record)}\b", text))
        assert uses > 1, recording.record
