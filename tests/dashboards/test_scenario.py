"""The scenario in its short form: `make proof-dashboards` plays all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.alerts import ALERTS
from tests.dashboards.scenario import CONSTANT, OF_SILENCE, OF_THE_PROCESS, play_all

if TYPE_CHECKING:
    from pathlib import Path

# Only a process that dies sends a reply once more.
_OF_THE_WHOLE = {"maven_wecom_reply_repeats_total"}


async def test_what_goes_wrong_is_told_and_seen_and_over_when_it_is_over(tmp_path: Path) -> None:
    """Every panel and rule has numbers, every metric moves, every alert fires, and none for the healthy channel."""
    seen = await play_all(tmp_path, whole=False)
    assert seen.before == set()
    assert seen.fired == {alert.name for alert in ALERTS} - OF_SILENCE - OF_THE_PROCESS
    assert seen.of_the_well == set()
    assert seen.left == set()
    assert seen.empty == []
    assert seen.rule_problems == []
    assert seen.unmoved == CONSTANT | _OF_THE_WHOLE
