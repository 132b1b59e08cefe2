"""The rules: Prometheus takes them, and each alert fires when it should and not when it should not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts import ALERTS
from dashboards.files import RUNBOOK
from dashboards.rules import recordings
from tests.dashboards.committed import named
from tests.dashboards.promtool import promtool
from tests.dashboards.rule_cases import CASES, Case

FILE = Path(__file__).parents[2] / "dashboards" / "wecom-rules.yml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
BY_NAME = {alert.name: alert for alert in ALERTS}


def rules_for(name: str) -> dict[str, Any]:
    """Return an alert as it stands in the file, and what is recorded for it: all the others only take time."""
    (alert,) = [rule for group in DOCUMENT["groups"] for rule in group["rules"] if rule.get("alert") == name]
    recorded = [rule for rule in DOCUMENT["groups"][0]["rules"] if "job_channel:" in alert["expr"]]
    return {"groups": [{"name": name, "rules": [*recorded, alert]}]}


def written(case: Case, rules: Path) -> dict[str, Any]:
    """Return a case as promtool reads it."""
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


def test_prometheus_takes_the_rules() -> None:
    """With every lint it has."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    """At the durations and thresholds of the file, and with the sentence the person on call reads."""
    for name in BY_NAME:
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(rules_for(name)), encoding="utf-8")
    files = []
    for number, case in enumerate(CASES):
        files.append(tmp_path / f"{number:02}-{case.alert}.yml")
        files[-1].write_text(yaml.safe_dump(written(case, tmp_path / f"{case.alert}.yml")), encoding="utf-8")
    done = promtool("test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=[case.alert for case in CASES])
def test_a_case_has_everything_its_alert_looks_at(case: Case) -> None:
    """Without a series that it needs, an alert is quiet for no reason."""
    recorded = {recording.record: recording.expr for recording in recordings()}
    names, needed = {BY_NAME[case.alert].expr}, set[str]()
    while names:
        found = {name for expr in names for name in named(expr)}
        names = {recorded[name] for name in found & set(recorded)}
        needed |= found - set(recorded)
    assert needed <= {series.partition("{")[0] for series in case.series}


@pytest.mark.parametrize("alert", ALERTS, ids=BY_NAME)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: Any) -> None:  # noqa: ANN401 - an Alert
    """An alert nobody saw is a hope."""
    fires = [bool(case.fires) for case in CASES if case.alert == alert.name]
    assert set(fires) == {True, False}


@pytest.mark.parametrize("alert", ALERTS, ids=BY_NAME)
def test_an_alert_says_what_it_must(alert: Any) -> None:  # noqa: ANN401 - an Alert
    """Its name, how bad it is, what is wrong without a value, how much in a form for people, and for how long."""
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
def test_a_description_speaks_of_the_time_the_alert_looks_at(alert: Any) -> None:  # noqa: ANN401 - an Alert
    """The last 15 minutes are [15m]."""
    units = {"minutes": "m", "hour": "h"}
    for number, unit in re.findall(r"last (?:(\d+) )?(minutes|hour)", alert.description):
        assert f"[{number or 1}{units[unit]}]" in alert.expr


def test_names_of_alerts_are_used_once() -> None:
    """Else one runbook page would be two."""
    assert len(BY_NAME) == len(ALERTS)


def test_recorded_series_are_named_as_usual() -> None:
    """level:metric:operations, the level being the labels that are left."""
    for recording in recordings():
        assert re.fullmatch(r"job_channel:maven_wecom_[a-z_]+:(rate|ratio_rate)(5m|30m|1h|6h|3d)", recording.record)
        assert "_total" not in recording.record


def test_what_nobody_alerts_on_is_not_recorded() -> None:
    """A rule that is evaluated for nobody costs for nothing."""
    text = FILE.read_text(encoding="utf-8")
    for recording in recordings():
        uses = len(re.findall(rf"{re.escape(recording.record)}\b", text))
        assert uses > 1, recording.record
