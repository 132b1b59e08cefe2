"""Metrics, dashboards, alerts and documents speak of the same things."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from dashboards.alerts import ALERTS
from dashboards.rules import UNAVAILABLE, recordings
from maven_channel_wecom.errors import Unavailability
from tests.dashboards.committed import annotated, asked, named, pasted
from tests.dashboards.promtool import promtool
from tests.e2e.deployment import Deployment
from tests.e2e.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
MANIFEST = tomllib.loads((ROOT / "plugin.toml").read_text(encoding="utf-8"))

# Exported, and in no panel and no alert, for a reason.
UNSEEN = {
    "process_virtual_memory_bytes": "address space is not memory",
    "python_gc_objects_collected_total": "what a collection found tells an operator nothing",
    "python_gc_objects_uncollectable_total": "zero since Python 3.4",
}
# Of Prometheus itself.
SYNTHETIC = {"up"}


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    """A gateway as it runs, which nobody has written to."""
    async with Deployment(Watch()) as running:
        yield running


def expressions() -> list[str]:
    """Return every expression of the dashboards, the rules and the runbook."""
    return [each.expr for kind in (asked(), annotated(), recordings(), ALERTS) for each in kind] + pasted()


def used() -> set[str]:
    """Return every metric that a dashboard or a rule names, but for those that rules record."""
    names = {name for expr in expressions() for name in named(expr)}
    recorded = {recording.record for recording in recordings()}
    assert {name for name in names if ":" in name} <= recorded
    return names - recorded


def test_names_are_found_in_expressions() -> None:
    """The tests below stand on it."""
    assert named('60 * sum by (outcome) (rate(a_total{x="b_total", y=~"$y"}[5m] offset 1w)) > 0') == {"a_total"}
    assert named("sum(a) / (b > 0) and on (job, instance) present_over_time(c[1d])") == {"a", "b", "c"}
    assert named("job_channel:x:rate5m * 3600 >= 5") == {"job_channel:x:rate5m"}


async def test_dashboards_and_rules_name_metrics_that_exist(deployment: Deployment) -> None:
    """By the name Prometheus scrapes."""
    scraped = {name for name, _ in await deployment.metrics()} | SYNTHETIC
    assert used() - scraped == set()


async def test_every_metric_is_looked_at(deployment: Deployment) -> None:
    """In a panel, in an alert, or left out for a reason that is written down."""
    _, text = await deployment.get("/metrics")
    exported = set(re.findall(r"^# TYPE (\w+) \w+$", text, re.MULTILINE))
    looked_at = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used()}
    created = {name for name in exported if name.endswith("_created")}
    assert exported - created - looked_at == set(UNSEEN)
    assert all(f"`{name}` ({reason})" in MONITORING for name, reason in UNSEEN.items())


async def test_the_readme_lists_what_the_host_adds(deployment: Deployment) -> None:
    """Every metric of ours that is not the channel's, with its sentence."""
    _, text = await deployment.get("/metrics")
    of_the_channel = {metric["name"] for metric in MANIFEST["metric"]}
    added = [
        (name, sentence)
        for name, sentence in re.findall(r"^# HELP (maven_\w+) (.+)$", text, re.MULTILINE)
        if name not in of_the_channel and not name.endswith("_created")
    ]
    table = re.search(r"<!-- table: host metrics -->\n.*?\n\|[-|]+\|\n(.*?)<!-- end -->", README, re.DOTALL)
    assert table
    rows = re.findall(r"^\| `(\w+)` \| `\w+` \| (.+) \|$", table[1], re.MULTILINE)
    assert sorted(rows) == sorted(added)


async def test_labels_in_expressions_exist(deployment: Deployment) -> None:
    """A value that no series has selects nothing, and an alert on it never fires."""
    values: dict[str, set[str]] = {}
    for _, labels in await deployment.metrics():
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    for expr in expressions():
        for label, operator, given in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"$]+)"', expr):
            wanted = given.split("|") if "~" in operator else [given]
            assert set(wanted) <= values[label], (label, given)


def test_what_was_answered_503_counts_as_not_acknowledged() -> None:
    """Whatever the reason, but for a restart; `crowded` is refused before anybody knows whose it is."""
    assert set(UNAVAILABLE.split("|")) == {*get_args(Unavailability), "crowded"} - {"draining"}


async def test_what_a_gateway_exports_is_as_it_should_be(deployment: Deployment) -> None:
    """By promtool's own lint, with one exemption: the client library names what it tells of the process itself."""
    _, text = await deployment.get("/metrics")
    done = promtool("check", "metrics", stdin=text)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert [line for line in said if not line.startswith(("python_", "process_"))] == []
