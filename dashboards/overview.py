"""The dashboard `wecom-overview`: health, incoming callbacks and outgoing answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.objectives import (
    ACKNOWLEDGE,
    AGENT_SHARE,
    ANSWER,
    BURNS,
    FIRST_SIGN_SECONDS,
    INBOX_FULLNESS,
    OLDEST_SECONDS,
    STREAMS_SHARE,
    UNDELIVERED_SHARE,
)
from dashboards.panels import (
    COUNT,
    HIGH,
    OF_SELECTED,
    PER_MINUTE,
    PROCESS,
    SECONDS,
    SELECTED,
    SHARE,
    dashboard,
    series,
    stat,
)
from dashboards.queries import INTERVAL, RANGE, in_range, not_zero, per_minute, quantile, quantiles
from dashboards.rules import UNAVAILABLE

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.stat import Panel as StatPanel
    from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeriesPanel
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from dashboards.objectives import Objective


def overview() -> Dashboard:
    """Return the dashboard `wecom-overview`."""
    return dashboard(
        "wecom-overview",
        "Maven WeCom / Overview",
        "Whether WeCom's callbacks get in and the agent's answers get out. The dashboard Inside shows causes.",
        {
            "Is it healthy?": [*_health(), *_objectives()],
            "Callbacks: from WeCom to here": _callbacks(),
            "Streams: what people see while they wait": _streams(),
            "Answers: from here to the users": _answers(),
        },
    )


def _health() -> list[StatPanel | TimeSeriesPanel]:
    up_and_down = {"0": ("down", "red"), "1": ("up", "green")}
    return [
        stat(
            "Gateways",
            "Whether every gateway seen in the last day answers Prometheus. If one is down, see WeComTargetDown.",
            f"min(up{{{PROCESS}}} and on (job, instance) present_over_time(maven_wecom_build_info{{{SELECTED}}}[1d]))",
            COUNT,
            value_texts={"0": ("one is down", "red"), "1": ("all up", "green")},
        ),
        stat(
            "State",
            "Whether the state of every channel is available. If one is down, its channel refuses every message: see "
            "WeComStateDown.",
            f"min(maven_wecom_state_up{{{SELECTED}}})",
            COUNT,
            value_texts=up_and_down,
        ),
        stat(
            "Inbox",
            "How full the fullest inbox is, relative to inboxLimit. At 100 % callbacks are answered 503.",
            f"max(maven_wecom_inbox_messages{{{SELECTED}}} / maven_wecom_inbox_limit{{{SELECTED}}})",
            SHARE,
            bad_from=INBOX_FULLNESS,
        ),
        stat(
            "Oldest message in progress",
            "Age of the oldest message in progress. A high age means that the agent hangs. After an hour a message can "
            "no longer be answered.",
            f"max(maven_wecom_inbox_oldest_seconds{{{SELECTED}}})",
            SECONDS,
            bad_from=OLDEST_SECONDS,
        ),
        stat(
            "Last genuine callback",
            "Time since the last callback with a valid signature. A quiet bot is not a broken one: compare with other "
            "days.",
            f"time() - max(maven_wecom_last_callback_timestamp_seconds{{{SELECTED}}} > 0)",
            SECONDS,
            no_data="none yet",
        ),
        stat(
            "Answers not delivered",
            "Share of the answers in the selected time range that did not reach their users. For the reasons see the "
            "panel below.",
            f"""{in_range("maven_wecom_replies_total", "", 'outcome!="delivered", reason!="silent"')}"""
            f""" / ({in_range("maven_wecom_replies_total", "", 'reason!="silent"')} > 0)""",
            SHARE,
            bad_from=UNDELIVERED_SHARE,
            no_data="no answers",
        ),
    ]


def _objectives() -> list[StatPanel | TimeSeriesPanel]:
    panels: list[StatPanel | TimeSeriesPanel] = []
    for objective, name in ((ACKNOWLEDGE, "Acknowledged in time"), (ANSWER, "Answered in time")):
        panels += [
            stat(
                name,
                f"Objective: {objective.statement}. The share reached in the selected time range, for each channel.",
                f"{_good(objective, RANGE)} / ({_events(objective, RANGE)} > 0)",
                SHARE,
                good_from=objective.share,
                no_data="no traffic",
                span=6,
            ),
            stat(
                f"{name}: budget left",
                f"{100 * objective.budget:.4g} % of all events may be bad. This is how much of that budget is left "
                "in the selected time range. Below zero the objective is missed. Select 30 days for the whole budget.",
                f"1 - {_bad_share(objective, RANGE)} / {objective.budget}",
                SHARE,
                good_from=0,
                no_data="no traffic",
                span=6,
            ),
        ]
    panels += [
        series(
            f"{name}: burn rate of the budget",
            f"1: the budget lasts exactly its 30 days. The line is at {BURNS[0].factor:g}, where a critical alert "
            "fires if the rate stays there for an hour, or far above it for minutes.",
            {"{{channel}}": f"{_bad_share(objective, INTERVAL)} / {objective.budget}"},
            "none",
            limit=BURNS[0].factor,
            no_data="no traffic",
            span=12,
        )
        for objective, name in ((ACKNOWLEDGE, "acknowledging"), (ANSWER, "answering"))
    ]
    return panels


def _callbacks() -> list[StatPanel | TimeSeriesPanel]:
    callbacks = "maven_wecom_callbacks_total"
    return [
        series(
            "Callbacks acknowledged",
            "Callbacks acknowledged with 200. Duplicates are repeats by WeCom and are only acknowledged. Refused "
            "messages are from people or groups that the allow-lists do not contain.",
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
            "Callbacks not acknowledged",
            "The gateway causes a 503: a full inbox, an unavailable state, a restart. The caller causes the others: a "
            "wrong token or key, or a request that is not WeCom's. docs/operations.md explains each reason.",
            {
                "503, unavailable": per_minute(callbacks, "", f'outcome=~"{UNAVAILABLE}"'),
                "503, draining": per_minute(callbacks, "", 'outcome="draining"'),
                "503, one chat sends too much": per_minute(callbacks, "", 'outcome="chat_full"'),
                "wrong signature": per_minute(callbacks, "", 'outcome="signature"'),
                "does not open": per_minute(callbacks, "", 'outcome=~"undecipherable|receiver|stale|xml"'),
                "no callback": per_minute(callbacks, "", 'outcome=~"malformed|method|too_large|slow|aborted"'),
            },
            PER_MINUTE,
            stacked=True,
        ),
        series(
            "Time to acknowledge",
            "From a callback's arrival to its acknowledgement. The line is the objective of "
            f"{ACKNOWLEDGE.seconds:g} s; WeCom gives up after 5 s.",
            quantiles("maven_wecom_callback_seconds"),
            SECONDS,
            limit=ACKNOWLEDGE.seconds,
        ),
    ]


def _streams() -> list[StatPanel | TimeSeriesPanel]:
    first_sign = "maven_wecom_first_sign_seconds"
    return [
        series(
            "Time to the first sign",
            "From a message's arrival to the first thing that its sender can see: moving dots, a notice, a text, or "
            f"with progress off the answer. The line is the objective of {FIRST_SIGN_SECONDS:g} s for 99 % with "
            "progress stream: see WeComFirstSignLate.",
            {
                "{{channel}}, half are faster": quantile(0.5, first_sign, "channel"),
                "{{channel}}, 99 % are faster": quantile(0.99, first_sign, "channel"),
            },
            SECONDS,
            limit=FIRST_SIGN_SECONDS,
        ),
        series(
            "Streams by outcome",
            "fetched: WeCom took the final text. handed_over: it did not, so the response_url took the answer. ended: "
            "closed with the text so far, the answer follows. abandoned: nobody closed it.",
            {"{{outcome}}": per_minute("maven_wecom_streams_total", "outcome")},
            PER_MINUTE,
            stacked=True,
        ),
        stat(
            "Streams whose end was taken",
            "Share of the streams in the selected time range whose last frame a refresh took, with the final text or "
            "with the text so far. If it is low, refreshes do not reach the streams: see WeComStreamsNotFetched.",
            f"""{in_range("maven_wecom_streams_total", "channel", 'outcome=~"fetched|ended"')}"""
            f""" / ({in_range("maven_wecom_streams_total", "channel")} > 0)""",
            SHARE,
            good_from=1 - STREAMS_SHARE,
            no_data="no streams",
            height=HIGH,
        ),
        stat(
            "Streams fetched",
            "Share of the streams in the selected time range that showed the whole answer. The others needed the "
            "response_url: the agent took too long, or refreshes did not come.",
            f"""{in_range("maven_wecom_streams_total", "channel", 'outcome="fetched"')}"""
            f""" / ({in_range("maven_wecom_streams_total", "channel")} > 0)""",
            SHARE,
            no_data="no streams",
            height=HIGH,
        ),
        series(
            "Refreshes by outcome",
            "WeCom asks about once a second for each open stream. repeated: for a final text that it had taken. "
            "unknown: for a stream that is not open: see WeComRefreshesUnknown.",
            {"{{outcome}}": per_minute("maven_wecom_stream_refreshes_total", "outcome")},
            PER_MINUTE,
            stacked=True,
        ),
        series(
            "Time to answer a refresh",
            "From a refresh's arrival to its answer. Refreshes are answered from memory, or from Redis by another "
            "replica.",
            quantiles("maven_wecom_stream_refresh_seconds"),
            SECONDS,
        ),
        series(
            "Progress ignored",
            "Texts that the host pushed after the end of a stream, or for a message without one. A few are normal: "
            "the last of them may be on their way when a stream ends.",
            {"{{channel}}": per_minute("maven_wecom_stream_progress_ignored_total", "channel")},
            PER_MINUTE,
        ),
    ]


def _answers() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Answers by outcome",
            "unknown: it was sent, but WeCom did not answer, so it may have arrived. refused: WeCom rejected it.",
            {"{{outcome}}": per_minute("maven_wecom_replies_total", "outcome", 'reason!="silent"')},
            PER_MINUTE,
            stacked=True,
        ),
        series(
            "Answers not delivered, by reason",
            "Empty while every answer arrives. docs/operations.md explains each reason.",
            {
                "{{outcome}}: {{reason}}": not_zero(
                    per_minute("maven_wecom_replies_total", "outcome, reason", 'outcome!="delivered", reason!="silent"')
                )
            },
            PER_MINUTE,
            stacked=True,
            no_data="everything arrived",
        ),
        series(
            "Time to answer",
            "From a message's arrival to the delivery of its answer. Most of it is the agent's. The line is the "
            f"objective of {ANSWER.seconds:g} s.",
            quantiles("maven_wecom_answer_seconds"),
            SECONDS,
            limit=ANSWER.seconds,
        ),
        series(
            "Attempts and retries",
            "Requests made to deliver answers, retries and their reasons, and answers to messages of which an earlier "
            "answer may have arrived: its process died, or WeCom answered it with an error.",
            {
                "attempts": per_minute("maven_wecom_reply_attempts_total"),
                "retry: {{reason}}": not_zero(per_minute("maven_wecom_reply_retries_total", "reason")),
                "repeat: the first may have arrived": per_minute("maven_wecom_reply_repeats_total"),
            },
            PER_MINUTE,
        ),
        series(
            "Answers truncated",
            "Answers longer than WeCom accepts, which are cut and end with a note. If there are many, make the agent "
            "answer more briefly, or set overflow to continue.",
            {"answers": per_minute("maven_wecom_reply_truncations_total")},
            PER_MINUTE,
        ),
        series(
            "Bytes truncated",
            "How much text was cut from these answers.",
            {"cut off": f"sum(rate(maven_wecom_reply_truncated_bytes_total{{{SELECTED}}}[{INTERVAL}]))"},
            "Bps",
        ),
        series(
            "Sentences in place of answers",
            "What people read where there is no answer, by reason. docs/operations.md explains each.",
            {"{{reason}}": not_zero(per_minute("maven_wecom_explanations_total", "reason"))},
            PER_MINUTE,
            stacked=True,
            no_data="every message got an answer",
            span=16,
        ),
        series(
            "Welcomes",
            "People greeted with welcomeText when they entered the chat.",
            {"people": per_minute("maven_wecom_welcomes_total")},
            PER_MINUTE,
        ),
        series(
            "Feedback",
            "How people rate the answers (feedback). A rating that is changed counts again.",
            {"{{kind}}": per_minute("maven_wecom_feedback_total", "kind")},
            PER_MINUTE,
            span=12,
        ),
        series(
            "Reasons for bad ratings",
            "docs/operations.md explains each reason. A rating may have several.",
            {"{{reason}}": not_zero(per_minute("maven_wecom_feedback_reasons_total", "reason"))},
            PER_MINUTE,
            stacked=True,
            no_data="no bad ratings",
            span=12,
        ),
        series(
            "Agent turns",
            "After a failed turn the user gets an apology, which counts as an answer, so only this panel and "
            "WeComAgentFailing show the failure. All channels of a gateway share one agent.",
            {
                "{{outcome}}": "60 * sum by (outcome) "
                f"(rate(maven_agent_turns_total{{{PROCESS}}}[{INTERVAL}]) {OF_SELECTED})"
            },
            PER_MINUTE,
            stacked=True,
            span=12,
        ),
        stat(
            "Failed agent turns",
            "Share of the agent's turns in the selected time range that failed.",
            f'sum(increase(maven_agent_turns_total{{{PROCESS}, outcome="failed"}}[{RANGE}]) {OF_SELECTED})'
            f" / (sum(increase(maven_agent_turns_total{{{PROCESS}}}[{RANGE}]) {OF_SELECTED}) > 0)",
            SHARE,
            bad_from=AGENT_SHARE,
            no_data="no turns",
            span=6,
            height=HIGH,
        ),
        stat(
            "Proactive deliveries skipped",
            "Deliveries of cron jobs to a channel that can answer but not start a conversation. Remove `deliver` from "
            "the job, or deliver to another channel.",
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
        wanted = f'{{{SELECTED}, reason!="silent"}}'
        return f"sum by (channel) (rate(maven_wecom_replies_total{wanted}[{window}]))"
    refused = f'{{{SELECTED}, outcome=~"{UNAVAILABLE}"}}'
    return (
        f"(sum by (channel) (rate(maven_wecom_callback_seconds_count{{{SELECTED}}}[{window}]))"
        f" + sum by (channel) (rate(maven_wecom_callbacks_total{refused}[{window}])))"
    )


def _bad_share(objective: Objective, window: str) -> str:
    """Return the expression of the share of bad events. It is clamped, as both counters are not read simultaneously."""
    return f"clamp_min(1 - {_good(objective, window)} / ({_events(objective, window)} > 0), 0)"
