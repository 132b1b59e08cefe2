"""Tests that dashboards, alerts and documents agree with the metrics that a gateway exports."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from dashboards.alerts import ALERTS
from dashboards.rules import UNAVAILABLE, recordings
from maven_channel_wecom.errors import Unavailability
from tests.dashboards.committed import annotation_queries, metric_names, panel_queries, runbook_queries
from tests.dashboards.promtool import promtool
from tests.e2e.deployment import Deployment
from tests.e2e.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MONITORING = " ".join((ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8").split())
MANIFEST = tomllib.loads((ROOT / "plugin.toml").read_text(encoding="utf-8"))

# Exported metrics that no panel and no alert uses, with the reasons.
UNSEEN = {
    "process_virtual_memory_bytes": "address space is not memory",
    "python_gc_objects_collected_total": "operators cannot act on it",
    "python_gc_objects_uncollectable_total": "zero since Python 3.4",
}
# Metrics that Prometheus itself creates.
SYNTHETIC = {"up"}


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    """A running gateway that has received no message."""
    async with Deployment(Watch()) as running:
        yield running


def expressions() -> list[str]:
    """Return every expression of the dashboards, the rules and the runbook."""
    return [
        each.expr for kind in (panel_queries(), annotation_queries(), recordings(), ALERTS) for each in kind
    ] + runbook_queries()


def used() -> set[str]:
    """Return every exported metric that a dashboard, a rule or the runbook uses."""
    names = {name for expr in expressions() for name in metric_names(expr)}
    recorded = {recording.record for recording in recordings()}
    assert {name for name in names if ":" in name} <= recorded
    return names - recorded


def test_metric_names_are_found_in_expressions() -> None:
    """The other tests in this file depend on it."""
    assert metric_names('60 * sum by (outcome) (rate(a_total{x="b_total", y=~"$y"}[5m] offset 1w)) > 0') == {"a_total"}
    assert metric_names("sum(a) / (b > 0) and on (job, instance) present_over_time(c[1d])") == {"a", "b", "c"}
    assert metric_names("job_channel:x:rate5m * 3600 >= 5") == {"job_channel:x:rate5m"}


async def test_dashboards_and_rules_use_only_metrics_that_exist(deployment: Deployment) -> None:
    scraped = {name for name, _ in await deployment.metrics()} | SYNTHETIC
    assert used() - scraped == set()


async def test_every_metric_is_used_or_listed_with_a_reason(deployment: Deployment) -> None:
    _, text = await deployment.get("/metrics")
    exported = set(re.findall(r"^# TYPE (\w+) \w+$", text, re.MULTILINE))
    looked_at = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used()}
    created = {name for name in exported if name.endswith("_created")}
    unused = exported - created - looked_at
    assert unused == set(UNSEEN), "each metric is in a panel or alert in dashboards/, or in UNSEEN with a reason"
    assert all(f"`{name}` ({reason})" in MONITORING for name, reason in UNSEEN.items())


async def test_the_readme_lists_the_metrics_of_the_host_with_their_help_texts(deployment: Deployment) -> None:
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


async def test_label_values_in_expressions_exist(deployment: Deployment) -> None:
    """An alert on a label value that no series has would never fire."""
    values: dict[str, set[str]] = {}
    for _, labels in await deployment.metrics():
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    for expr in expressions():
        for label, operator, given in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"$]+)"', expr):
            wanted = given.split("|") if "~" in operator else [given]
            assert set(wanted) <= values[label], (label, given)


def test_callbacks_answered_503_count_as_not_acknowledged_except_during_a_restart() -> None:
    """`crowded` is listed separately because such a request is refused before it is known to be a callback."""
    assert set(UNAVAILABLE.split("|")) == {*get_args(Unavailability), "crowded"} - {"draining", "chat_full"}


async def test_exported_metrics_pass_the_lint_of_promtool(deployment: Deployment) -> None:
    """Metrics of the process are exempt, because prometheus_client chooses their names."""
    _, text = await deployment.get("/metrics")
    done = promtool("check", "metrics", stdin=text)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert [line for line in said if not line.startswith(("python_", "process_"))] == []
