"""The first dashboard: is it healthy, do callbacks get in, do answers get out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.objectives import (
    ACKNOWLEDGE,
    AGENT_SHARE,
    ANSWER,
    BURNS,
    INBOX_FULLNESS,
    OLDEST_SECONDS,
    UNDELIVERED_SHARE,
)
from dashboards.panels import COUNT, HIGH, OURS, PER_MINUTE, PROCESS, SECONDS, SELECTED, SHARE, dashboard, series, stat
from dashboards.queries import INTERVAL, SHOWN, in_range, not_zero, per_minute, quantiles
from dashboards.rules import UNAVAILABLE

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.stat import Panel as StatPanel
    from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeriesPanel
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from dashboards.objectives import Objective


def overview() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        "wecom-overview",
        "Maven WeCom / Overview",
        "Whether WeCom's callbacks get in and the agent's answers get out. What the gateway is busy with: Inside.",
        {
            "Is it healthy?": [*_health(), *_objectives()],
            "Callbacks: from WeCom to here": _callbacks(),
            "Answers: from here to the users": _answers(),
        },
    )


def _health() -> list[StatPanel | TimeSeriesPanel]:
    up_and_down = {"0": ("down", "red"), "1": ("up", "green")}
    return [
        stat(
            "Gateways",
            "Whether every gateway that was seen in the last day answers Prometheus. Down: WeComTargetDown.",
            f"min(up{{{PROCESS}}} and on (job, instance) present_over_time(maven_wecom_build_info{{{SELECTED}}}[1d]))",
            COUNT,
            words={"0": ("one is down", "red"), "1": ("all up", "green")},
        ),
        stat(
            "State",
            "Whether the state can make promises everywhere. Down: every message is refused, see WeComStateDown.",
            f"min(maven_wecom_state_up{{{SELECTED}}})",
            COUNT,
            words=up_and_down,
        ),
        stat(
            "Inbox",
            "How full the fullest inbox is, of inboxLimit. At 100 % callbacks are answered 503.",
            f"max(maven_wecom_inbox_messages{{{SELECTED}}} / maven_wecom_inbox_limit{{{SELECTED}}})",
            SHARE,
            bad_from=INBOX_FULLNESS,
        ),
        stat(
            "Oldest message in hand",
            "Age of the message longest in hand. Long: the agent hangs. After an hour it cannot be answered any more.",
            f"max(maven_wecom_inbox_oldest_seconds{{{SELECTED}}})",
            SECONDS,
            bad_from=OLDEST_SECONDS,
        ),
        stat(
            "Last genuine callback",
            "How long ago the last callback with a right signature came. A quiet bot is not a broken one; compare with "
            "other days.",
            f"time() - max(maven_wecom_last_callback_timestamp_seconds{{{SELECTED}}} > 0)",
            SECONDS,
            none="none yet",
        ),
        stat(
            "Answers not delivered",
            "Share of the answers in the time shown that did not reach their user. Why: the panel of reasons below.",
            f"""{in_range("maven_wecom_replies_total", "", 'outcome!="delivered"')}"""
            f""" / ({in_range("maven_wecom_replies_total", "")} > 0)""",
            SHARE,
            bad_from=UNDELIVERED_SHARE,
            none="no answers",
        ),
    ]


def _objectives() -> list[StatPanel | TimeSeriesPanel]:
    made: list[StatPanel | TimeSeriesPanel] = []
    for objective, name in ((ACKNOWLEDGE, "Acknowledged in time"), (ANSWER, "Answered in time")):
        made += [
            stat(
                name,
                f"Promised: {objective.promise}. This is what was kept in the time shown, channel by channel.",
                f"{_good(objective, SHOWN)} / ({_events(objective, SHOWN)} > 0)",
                SHARE,
                good_from=objective.share,
                none="no traffic",
                span=6,
            ),
            stat(
                f"{name}: budget left",
                f"Of the {objective.budget:.4g} of events that may be bad, the share that is left in the time shown. "
                "Below zero the promise is broken: choose 30 days for the whole of it.",
                f"1 - {_bad_share(objective, SHOWN)} / {objective.budget}",
                SHARE,
                good_from=0,
                none="no traffic",
                span=6,
            ),
        ]
    made += [
        series(
            f"Budget of {name}: how fast it is spent",
            f"1: as fast as it may be. At the line of {BURNS[0].factor:g} somebody is woken up, when it stays "
            "there for an hour, or is far above it for minutes.",
            {"{{channel}}": f"{_bad_share(objective, INTERVAL)} / {objective.budget}"},
            "none",
            limit=BURNS[0].factor,
            none="no traffic",
            span=12,
        )
        for objective, name in ((ACKNOWLEDGE, "acknowledging"), (ANSWER, "answering"))
    ]
    return made


def _callbacks() -> list[StatPanel | TimeSeriesPanel]:
    callbacks = "maven_wecom_callbacks_total"
    return [
        series(
            "Callbacks taken",
            "Acknowledged with 200. Duplicates are WeCom's repeats, answered without work; refused are those of people "
            "who are not on a list.",
            {
                "messages": per_minute(callbacks, "", 'kind="message", outcome="accepted"'),
                "events": per_minute(callbacks, "", 'kind="event", outcome="accepted"'),
                "URL checks": per_minute(callbacks, "", 'kind="verify", outcome="accepted"'),
                "duplicates": per_minute("maven_wecom_dedup_hits_total"),
                "refused": per_minute(callbacks, "", 'outcome="refused"'),
            },
            PER_MINUTE,
            stacked=True,
        ),
        series(
            "Callbacks not taken",
            "503 is ours: a full inbox, a state that is away, a restart. The others are the caller's: a wrong token or "
            "key, or a stranger. What each reason means: docs/operations.md.",
            {
                "503, unavailable": per_minute(callbacks, "", f'outcome=~"{UNAVAILABLE}"'),
                "503, draining": per_minute(callbacks, "", 'outcome="draining"'),
                "wrong signature": per_minute(callbacks, "", 'outcome="signature"'),
                "does not open": per_minute(callbacks, "", 'outcome=~"undecipherable|receiver|stale|xml"'),
                "no callback": per_minute(callbacks, "", 'outcome=~"malformed|method|too_large|slow|aborted"'),
            },
            PER_MINUTE,
            stacked=True,
        ),
        series(
            "Time to acknowledge",
            f"From a callback's arrival to its acknowledgement. The line is the promise of {ACKNOWLEDGE.seconds:g} s; "
            "WeCom gives up after 5 s.",
            quantiles("maven_wecom_callback_seconds"),
            SECONDS,
            limit=ACKNOWLEDGE.seconds,
        ),
    ]


def _answers() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Answers by outcome",
            "unknown: it left and no answer of WeCom came back, so it may have arrived. refused: WeCom said no.",
            {"{{outcome}}": per_minute("maven_wecom_replies_total", "outcome")},
            PER_MINUTE,
            stacked=True,
        ),
        series(
            "Answers not delivered, by reason",
            "Nothing is shown when everything arrives. What each reason means: docs/operations.md.",
            {
                "{{outcome}}: {{reason}}": not_zero(
                    per_minute("maven_wecom_replies_total", "outcome, reason", 'outcome!="delivered"')
                )
            },
            PER_MINUTE,
            stacked=True,
            none="everything arrived",
        ),
        series(
            "Time to answer",
            f"From a message's arrival to the delivery of its answer, mostly the agent's. The line is the promise of "
            f"{ANSWER.seconds:g} s.",
            quantiles("maven_wecom_answer_seconds"),
            SECONDS,
            limit=ANSWER.seconds,
        ),
        series(
            "Attempts and retries",
            "Requests made to deliver answers, those that were repeated and why, and answers sent once more because a "
            "process died while it was sending them.",
            {
                "attempts": per_minute("maven_wecom_reply_attempts_total"),
                "again: {{reason}}": not_zero(per_minute("maven_wecom_reply_retries_total", "reason")),
                "again: a process died": per_minute("maven_wecom_reply_repeats_total"),
            },
            PER_MINUTE,
        ),
        series(
            "Answers cut",
            "Answers longer than WeCom takes, cut with a note to the reader. Often: have the agent say less, or set "
            "overflow to continue.",
            {"answers": per_minute("maven_wecom_reply_truncations_total")},
            PER_MINUTE,
        ),
        series(
            "Text cut off",
            "How much of those answers nobody could read.",
            {"cut off": f"sum(rate(maven_wecom_reply_truncated_bytes_total{{{SELECTED}}}[{INTERVAL}]))"},
            "Bps",
        ),
        series(
            "Turns of the agent",
            "A failed turn ends as a sentence to the user that the agent is away. It counts as an answer, so only this "
            "panel and WeComAgentFailing show it. All channels of a gateway share one agent.",
            {"{{outcome}}": f"60 * sum by (outcome) (rate(maven_agent_turns_total{{{PROCESS}}}[{INTERVAL}]) {OURS})"},
            PER_MINUTE,
            stacked=True,
            span=12,
        ),
        stat(
            "Turns that failed",
            "Share of the agent's turns in the time shown.",
            f'sum(increase(maven_agent_turns_total{{{PROCESS}, outcome="failed"}}[{SHOWN}]) {OURS})'
            f" / (sum(increase(maven_agent_turns_total{{{PROCESS}}}[{SHOWN}]) {OURS}) > 0)",
            SHARE,
            bad_from=AGENT_SHARE,
            none="no turns",
            span=6,
            height=HIGH,
        ),
        stat(
            "Proactive deliveries skipped",
            "Deliveries of cron jobs to a channel that can answer and never speak first. Take `deliver` off the job, "
            "or deliver to another channel.",
            in_range("maven_wecom_proactive_skips_total", ""),
            COUNT,
            bad_from=1,
            span=6,
            height=HIGH,
        ),
    ]


def _good(objective: Objective, window: str) -> str:
    bucket = f'{{{SELECTED}, le="{objective.seconds}"}}'
    return f"sum by (channel) (rate({objective.good}_bucket{bucket}[{window}]))"


def _events(objective: Objective, window: str) -> str:
    if objective is ANSWER:
        return f"sum by (channel) (rate(maven_wecom_replies_total{{{SELECTED}}}[{window}]))"
    refused = f'{{{SELECTED}, outcome=~"{UNAVAILABLE}"}}'
    return (
        f"(sum by (channel) (rate(maven_wecom_callback_seconds_count{{{SELECTED}}}[{window}]))"
        f" + sum by (channel) (rate(maven_wecom_callbacks_total{refused}[{window}])))"
    )


def _bad_share(objective: Objective, window: str) -> str:
    """Return the share of bad events; not below zero, where the two counters were read a moment apart."""
    return f"clamp_min(1 - {_good(objective, window)} / ({_events(objective, window)} > 0), 0)"
