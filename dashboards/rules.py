"""Recording rules and alerts as values, and the file Prometheus loads."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Final

import yaml

from dashboards.objectives import ACKNOWLEDGE, BURNS, OBJECTIVES, in_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.objectives import Objective, Severity

REPLICA: Final = "instance, pod"
"""The labels that tell replicas apart, with and without Kubernetes: promises are kept for a channel, by all of them."""

UNAVAILABLE: Final = "inbox_full|crowded|state|state_full|error"
"""Outcomes of genuine callbacks that were answered 503. `draining` is a restart: WeCom tries again."""

WINDOWS: Final = tuple(sorted({window for burn in BURNS for window in (burn.short, burn.long)}, key=in_seconds))

_EVALUATION: Final = "30s"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording rule, named `level:metric:operations`."""

    record: str
    expr: str

    def document(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert. `wait` is how long it must hold before it fires, `keep` how long it fires on when it no longer does.

    `summary` says what is wrong, without values; `description` has them, in the template language of Prometheus.
    """

    name: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    description: str
    keep: str = ""

    @property
    def anchor(self) -> str:
        """Its heading in the runbook, as a link names it."""
        return self.name.lower()

    def document(self, runbook: str) -> dict[str, Any]:
        """Return it as Prometheus reads it, with its place in the runbook at that address."""
        keep = {"keep_firing_for": self.keep} if self.keep else {}
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            **keep,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbook}#{self.anchor}",
            },
        }


def promql(text: str) -> str:
    """Return an expression without the indent it has in the code."""
    return dedent(text).strip()


def errors(objective: Objective, window: str) -> str:
    """Return the name of the rule that records bad events a second."""
    return f"job_channel:maven_wecom_{objective.name}_errors:rate{window}"


def ratio(objective: Objective, window: str) -> str:
    """Return the name of the rule that records the share of bad events."""
    return f"job_channel:maven_wecom_{objective.name}_errors:ratio_rate{window}"


def events(objective: Objective, rate: str, matchers: str = "") -> str:
    """Return the expression of all events a second: `rate` such as `5m`, `matchers` to select series."""
    if objective is ACKNOWLEDGE:
        timed = f"sum without ({REPLICA}) (rate(maven_wecom_callback_seconds_count{_braces(matchers)}[{rate}]))"
        outcomes = _braces(matchers, f'outcome=~"{UNAVAILABLE}"')
        refused = f"sum without ({REPLICA}, kind, outcome) (rate(maven_wecom_callbacks_total{outcomes}[{rate}]))"
        return f"{timed}\n+\n{refused}"
    return f"sum without ({REPLICA}, outcome, reason) (rate(maven_wecom_replies_total{_braces(matchers)}[{rate}]))"


def good_events(objective: Objective, rate: str, matchers: str = "") -> str:
    """Return the expression of good events a second."""
    bucket = _braces(matchers, f'le="{objective.seconds}"')
    return f"sum without ({REPLICA}, le) (rate({objective.good}_bucket{bucket}[{rate}]))"


def recordings() -> Iterator[Recording]:
    """Yield the rules that record how the objectives are kept."""
    for objective in OBJECTIVES:
        for window in WINDOWS:
            total = f"job_channel:maven_wecom_{objective.name}_events:rate{window}"
            yield Recording(record=total, expr=events(objective, window))
            yield Recording(
                record=errors(objective, window),
                expr=f"clamp_min(\n  {total}\n  -\n  {good_events(objective, window)},\n  0\n)",
            )
            yield Recording(record=ratio(objective, window), expr=f"{errors(objective, window)}\n/\n({total} > 0)")


def rules_document(alerts: dict[str, tuple[Alert, ...]], runbook: str) -> dict[str, Any]:
    """Return the file as Prometheus reads it: the recording rules first, then the groups of alerts."""
    groups = [{"name": "wecom-objectives", "interval": _EVALUATION, "rules": [r.document() for r in recordings()]}]
    groups += [
        {"name": name, "interval": _EVALUATION, "rules": [alert.document(runbook) for alert in group]}
        for name, group in alerts.items()
    ]
    return {"groups": groups}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_yaml(document: dict[str, Any]) -> str:
    """Return a file of rules."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000, allow_unicode=True)


def _braces(*matchers: str) -> str:
    given = ", ".join(filter(None, matchers))
    return f"{{{given}}}" if given else ""
