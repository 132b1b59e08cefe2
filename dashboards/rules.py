"""Recording rules and alerts as values, and the rule file that Prometheus loads."""

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
"""Labels that distinguish replicas, with and without Kubernetes. Objectives apply to all replicas of a channel."""

UNAVAILABLE: Final = "inbox_full|crowded|state|state_full|error"
"""Outcomes answered 503 that count against the objective. `draining` does not: a restart is intended. `chat_full` does
not either: it concerns one chat that sends more than the agent can answer."""

WINDOWS: Final = tuple(sorted({window for burn in BURNS for window in (burn.short, burn.long)}, key=in_seconds))

_EVALUATION: Final = "30s"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording rule. Its name has the form `level:metric:operations`."""

    record: str
    expr: str

    def document(self) -> dict[str, Any]:
        """Return the rule in the form that Prometheus reads."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert.

    `wait` is how long the expression must hold before the alert fires, and `keep` how long the alert keeps firing
    afterwards. `summary` states the problem without values; `description` has the values, as a Prometheus template.
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
        """The anchor of the alert's section in the runbook."""
        return self.name.lower()

    def document(self, runbook: str) -> dict[str, Any]:
        """Return the alert in the form that Prometheus reads, with a link into the runbook at this address."""
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
    """Return an expression without the indentation of the source code."""
    return dedent(text).strip()


def errors(objective: Objective, window: str) -> str:
    """Return the name of the rule that records bad events per second."""
    return f"job_channel:maven_wecom_{objective.name}_errors:rate{window}"


def ratio(objective: Objective, window: str) -> str:
    """Return the name of the rule that records the share of bad events."""
    return f"job_channel:maven_wecom_{objective.name}_errors:ratio_rate{window}"


def events(objective: Objective, rate: str) -> str:
    """Return the expression of all events per second, over a window such as `5m`."""
    if objective is ACKNOWLEDGE:
        timed = f"sum without ({REPLICA}) (rate(maven_wecom_callback_seconds_count[{rate}]))"
        outcomes = f'{{outcome=~"{UNAVAILABLE}"}}'
        refused = f"sum without ({REPLICA}, kind, outcome) (rate(maven_wecom_callbacks_total{outcomes}[{rate}]))"
        return f"{timed}\n+\n{refused}"
    # A silence that the host wanted is no answer that failed.
    wanted = '{reason!="silent"}'
    return f"sum without ({REPLICA}, outcome, reason) (rate(maven_wecom_replies_total{wanted}[{rate}]))"


def good_events(objective: Objective, rate: str) -> str:
    """Return the expression of good events per second."""
    bucket = f'{{le="{objective.seconds}"}}'
    return f"sum without ({REPLICA}, le) (rate({objective.good}_bucket{bucket}[{rate}]))"


def recordings() -> Iterator[Recording]:
    """Yield the rules that record how well the objectives are met."""
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
    """Return the rule file as a document: the recording rules first, then the groups of alerts."""
    groups = [{"name": "wecom-objectives", "interval": _EVALUATION, "rules": [r.document() for r in recordings()]}]
    groups += [
        {"name": name, "interval": _EVALUATION, "rules": [alert.document(runbook) for alert in group]}
        for name, group in alerts.items()
    ]
    return {"groups": groups}


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that writes multi-line strings as literal blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_yaml(document: dict[str, Any]) -> str:
    """Return a document as YAML."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000, allow_unicode=True)
