"""Runs the short form of the scenario; `make proof-dashboards` runs all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.alerts import ALERTS
from tests.dashboards.scenario import CONSTANT, OF_SILENCE, OF_THE_PROCESS, run_scenario

if TYPE_CHECKING:
    from pathlib import Path

# A reply is repeated only after its process died.
_OF_THE_WHOLE = {"maven_wecom_reply_repeats_total"}


async def test_trouble_fires_every_alert_changes_every_metric_and_ends_cleanly(tmp_path: Path) -> None:
    """Every expression has a result, and no alert fires for the healthy channel."""
    findings = await run_scenario(tmp_path, whole=False)
    assert findings.before_trouble == set()
    assert findings.fired == {alert.name for alert in ALERTS} - OF_SILENCE - OF_THE_PROCESS
    assert findings.of_healthy_channel == set()
    assert findings.still_firing == set()
    assert findings.without_result == []
    assert findings.rule_problems == []
    assert findings.unchanged == CONSTANT | _OF_THE_WHOLE
