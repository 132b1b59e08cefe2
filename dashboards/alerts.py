"""Every alert, in groups by what is wrong: what users feel first, then what causes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards.objectives import (
    ACKNOWLEDGE,
    AGENT_FAILURES,
    AGENT_SHARE,
    ANSWER,
    BURN_EVENTS,
    BURNS,
    BUSY_CALLBACKS,
    DESCRIPTORS_SHARE,
    DROPPED_CONNECTIONS,
    EXPIRED_WINDOWS,
    INBOX_FULLNESS,
    LAG_SECONDS,
    LAG_SHARE,
    MEDIA_FAILURES,
    MEDIA_SHARE,
    OLDEST_SECONDS,
    RESTARTS,
    SIGNATURE_FAILURES,
    SIGNATURE_SHARE,
    SKEW_SECONDS,
    STATE_FAILURES,
    UNDELIVERED_ANSWERS,
    UNDELIVERED_SHARE,
    UNOPENED_CALLBACKS,
    in_seconds,
)
from dashboards.rules import REPLICA, Alert, errors, promql, ratio

if TYPE_CHECKING:
    from dashboards.objectives import Burn, Objective


def _burning(objective: Objective, burn: Burn) -> Alert:
    bad = round(burn.factor * objective.budget, 6)
    return Alert(
        name=f"WeCom{objective.name.capitalize()}BudgetBurns{burn.speed}",
        expr=promql(f"""
            {ratio(objective, burn.long)} > {bad}
            and
            {ratio(objective, burn.short)} > {bad}
            and
            {errors(objective, burn.long)} * {in_seconds(burn.long)} >= {BURN_EVENTS}
        """),
        wait=burn.wait,
        keep="" if burn.severity == "warning" else "5m",
        severity=burn.severity,
        summary={
            "acknowledge": "WeCom's callbacks are refused or acknowledged too late.",
            "answer": "Users' answers come late or not at all.",
        }[objective.name],
        description=(
            f"Promised for channel {{{{ $labels.channel }}}} is that {objective.promise}. Over {burn.long}, "
            f"{{{{ $value | humanizePercentage }}}} were not. At this pace the budget for 30 days is spent in "
            f"{30 / burn.factor:.0f} days or sooner."
        ),
    )


_ANSWERS: Final = (
    *(_burning(ANSWER, burn) for burn in BURNS),
    Alert(
        name="WeComAnswersUndelivered",
        expr=promql(f"""
            sum without ({REPLICA}, outcome, reason) (increase(maven_wecom_replies_total{{outcome!="delivered"}}[15m]))
            /
            (sum without ({REPLICA}, outcome, reason) (increase(maven_wecom_replies_total[15m])) > 0)
            > {UNDELIVERED_SHARE}
            and
            sum without ({REPLICA}, outcome, reason) (increase(maven_wecom_replies_total{{outcome!="delivered"}}[15m]))
            >= {UNDELIVERED_ANSWERS}
        """),
        wait="2m",
        keep="5m",
        severity="critical",
        summary="The agent answers, and the answers do not reach the users.",
        description=(
            "{{ $value | humanizePercentage }} of the answers of channel {{ $labels.channel }} were not delivered "
            "in the last 15 minutes."
        ),
    ),
    Alert(
        name="WeComReplyWindowsExpiring",
        expr=promql(f"""
            sum without ({REPLICA}) (increase(maven_wecom_reply_windows_expired_total[30m])) >= {EXPIRED_WINDOWS}
        """),
        wait="1m",
        severity="warning",
        summary="Messages stay unanswered until they cannot be answered any more.",
        description=(
            "About {{ $value | humanize }} messages of channel {{ $labels.channel }} lost their reply window in the "
            "last 30 minutes: an hour passed, and no answer went through it."
        ),
    ),
    Alert(
        name="WeComMessagesStuck",
        expr=f"max without ({REPLICA}) (maven_wecom_inbox_oldest_seconds) > {OLDEST_SECONDS:g}",
        wait="2m",
        severity="critical",
        summary="A message has been in hand for very long: the agent hangs.",
        description=(
            "The oldest message in hand of channel {{ $labels.channel }} came {{ $value | humanizeDuration }} ago; "
            "after an hour it cannot be answered any more."
        ),
    ),
    Alert(
        name="WeComAgentFailing",
        expr=promql(f"""
            sum without ({REPLICA}, outcome) (increase(maven_agent_turns_total{{outcome="failed"}}[15m]))
            /
            (sum without ({REPLICA}, outcome) (increase(maven_agent_turns_total[15m])) > 0)
            > {AGENT_SHARE}
            and
            sum without ({REPLICA}, outcome) (increase(maven_agent_turns_total{{outcome="failed"}}[15m]))
            >= {AGENT_FAILURES}
        """),
        wait="2m",
        keep="5m",
        severity="critical",
        summary="The agent is away or refuses: users get an excuse for an answer.",
        description="{{ $value | humanizePercentage }} of the agent's turns failed in the last 15 minutes.",
    ),
    Alert(
        name="WeComMessagesFailed",
        expr=promql(f"""
            sum without ({REPLICA}, type, outcome)
              (increase(maven_wecom_inbound_messages_total{{outcome="failed"}}[15m])) > 0
        """),
        wait="1m",
        severity="warning",
        summary="Messages were dropped on the way to the agent.",
        description=(
            "About {{ $value | humanize }} messages of channel {{ $labels.channel }} ended with an error of the host "
            "or of a plugin in the last 15 minutes. Nobody answers them unless WeCom sends them again."
        ),
    ),
    Alert(
        name="WeComMediaFailing",
        expr=promql(f"""
            sum without ({REPLICA}, outcome)
              (increase(maven_wecom_media_fetches_total{{outcome!~"opened|unsupported|no_url"}}[30m]))
            /
            (sum without ({REPLICA}, outcome)
              (increase(maven_wecom_media_fetches_total{{outcome!~"unsupported|no_url"}}[30m])) > 0)
            > {MEDIA_SHARE}
            and
            sum without ({REPLICA}, outcome)
              (increase(maven_wecom_media_fetches_total{{outcome!~"opened|unsupported|no_url"}}[30m]))
            >= {MEDIA_FAILURES}
        """),
        wait="5m",
        severity="warning",
        summary="Pictures and files cannot be had: the agent is told that something came, and not what.",
        description=(
            "{{ $value | humanizePercentage }} of the pictures and files of channel {{ $labels.channel }} could not be "
            "fetched or opened in the last 30 minutes."
        ),
    ),
    Alert(
        name="WeComProactiveDeliveriesSkipped",
        expr=f"sum without ({REPLICA}) (increase(maven_wecom_proactive_skips_total[1h])) > 0",
        wait="1m",
        severity="warning",
        summary="A cron job delivers to WeCom, which takes answers only.",
        description=(
            "About {{ $value | humanize }} deliveries to channel {{ $labels.channel }} were skipped in the last hour: "
            "it can answer, and never speak first."
        ),
    ),
)

_CALLBACKS: Final = (
    *(_burning(ACKNOWLEDGE, burn) for burn in BURNS),
    Alert(
        name="WeComNoCallbacks",
        expr=promql(f"""
            sum without ({REPLICA}, kind, outcome)
              (increase(maven_wecom_callbacks_total{{kind="message", outcome="accepted"}}[30m])) == 0
            and
            (
              sum without ({REPLICA}, kind, outcome)
                (increase(maven_wecom_callbacks_total{{kind="message", outcome="accepted"}}[1h] offset 30m))
              >= {BUSY_CALLBACKS}
              or
              sum without ({REPLICA}, kind, outcome)
                (increase(maven_wecom_callbacks_total{{kind="message", outcome="accepted"}}[1h] offset 1w))
              >= {BUSY_CALLBACKS}
            )
        """),
        wait="5m",
        severity="warning",
        summary="Nobody writes to the bot any more, though many did.",
        description=(
            "Channel {{ $labels.channel }} accepted no message for 30 minutes. The hour before, or the same hour a "
            f"week ago, brought at least {BUSY_CALLBACKS}."
        ),
    ),
    Alert(
        name="WeComNothingOpens",
        expr=promql(f"""
            sum without ({REPLICA}, kind, outcome) (increase(maven_wecom_callbacks_total{{
              outcome=~"signature|undecipherable|receiver|stale|xml"}}[15m])) >= {UNOPENED_CALLBACKS}
            and
            sum without ({REPLICA}, kind, outcome)
              (increase(maven_wecom_callbacks_total{{outcome=~"accepted|duplicate|refused"}}[15m])) == 0
        """),
        wait="2m",
        severity="critical",
        summary="Callbacks come and not one of them opens: token or key differ from WeCom's.",
        description=(
            "About {{ $value | humanize }} callbacks of channel {{ $labels.channel }} were rejected in the last 15 "
            "minutes, and none was accepted."
        ),
    ),
    Alert(
        name="WeComSignatureFailures",
        expr=promql(f"""
            sum without ({REPLICA}, kind, outcome)
              (increase(maven_wecom_callbacks_total{{outcome="signature"}}[15m]))
            /
            (sum without ({REPLICA}, kind, outcome) (increase(maven_wecom_callbacks_total[15m])) > 0)
            > {SIGNATURE_SHARE}
            and
            sum without ({REPLICA}, kind, outcome)
              (increase(maven_wecom_callbacks_total{{outcome="signature"}}[15m]))
            >= {SIGNATURE_FAILURES}
        """),
        wait="5m",
        keep="10m",
        severity="warning",
        summary="Callbacks carry wrong signatures: another token, or a stranger.",
        description=(
            "{{ $value | humanizePercentage }} of the callbacks of channel {{ $labels.channel }} had a wrong signature "
            "in the last 15 minutes."
        ),
    ),
    Alert(
        name="WeComClockSkew",
        expr=f"abs(maven_wecom_clock_skew_seconds) > {SKEW_SECONDS:g}",
        wait="5m",
        severity="warning",
        summary="This machine's clock differs from WeCom's.",
        description=(
            "The clock of {{ $labels.instance }} and the one that signed the last callback of channel "
            "{{ $labels.channel }} are {{ $value | humanizeDuration }} apart."
        ),
    ),
    Alert(
        name="WeComConnectionsDropped",
        expr=f"sum without (reason) (increase(maven_wecom_connections_dropped_total[5m])) >= {DROPPED_CONNECTIONS}",
        wait="2m",
        keep="10m",
        severity="warning",
        summary="Connections to the callback port are closed, as they are too many or too slow.",
        description=(
            "{{ $labels.instance }} closed about {{ $value | humanize }} connections of channel {{ $labels.channel }} "
            "in the last 5 minutes."
        ),
    ),
)

_INSIDE: Final = (
    Alert(
        name="WeComInboxFilling",
        expr=f"maven_wecom_inbox_messages / maven_wecom_inbox_limit > {INBOX_FULLNESS}",
        wait="2m",
        keep="5m",
        severity="critical",
        summary="The inbox is nearly full; when it is, callbacks are refused.",
        description=(
            "The inbox of channel {{ $labels.channel }} on {{ $labels.instance }} is {{ $value | humanizePercentage }} "
            "full."
        ),
    ),
    Alert(
        name="WeComStateDown",
        expr="maven_wecom_state_up == 0",
        wait="1m",
        severity="critical",
        summary="The state cannot keep anything: every message is refused.",
        description=(
            "The state of channel {{ $labels.channel }} on {{ $labels.instance }} has been away for a minute or more."
        ),
    ),
    Alert(
        name="WeComStateFailing",
        expr=promql(f"""
            sum without (operation, reason) (increase(maven_wecom_state_failures_total[5m])) >= {STATE_FAILURES}
        """),
        wait="1m",
        keep="5m",
        severity="warning",
        summary="The state refuses steps: messages are not taken, or answers wait.",
        description=(
            "The state of channel {{ $labels.channel }} on {{ $labels.instance }} refused about "
            "{{ $value | humanize }} steps in the last 5 minutes."
        ),
    ),
    Alert(
        name="WeComLoopLagging",
        expr=promql(f"""
            1
            -
            sum without (channel, le) (rate(maven_wecom_loop_lag_seconds_bucket{{le="{LAG_SECONDS}"}}[5m]))
            /
            (sum without (channel) (rate(maven_wecom_loop_lag_seconds_count[5m])) > 0)
            > {LAG_SHARE}
        """),
        wait="5m",
        keep="5m",
        severity="warning",
        summary="Something blocks the event loop, and every callback waits behind it.",
        description=(
            f"On {{{{ $labels.instance }}}} {{{{ $value | humanizePercentage }}}} of the looks found the event loop "
            f"more than {LAG_SECONDS:g} s late."
        ),
    ),
    Alert(
        name="WeComLogLinesSuppressed",
        expr=f"sum without ({REPLICA}) (increase(maven_wecom_log_lines_suppressed_total[15m])) > 0",
        wait="1m",
        severity="info",
        summary="The log left lines out, as too many of a kind came at once.",
        description=(
            "The log of channel {{ $labels.channel }} left out about {{ $value | humanize }} lines in the last "
            "15 minutes."
        ),
    ),
)

# Metrics of the process know no channel. These say which processes are ours.
_OURS: Final = "and on (job, instance) maven_wecom_build_info"

_PROCESS: Final = (
    Alert(
        name="WeComTargetDown",
        expr=promql("""
            up == 0
            and on (job, instance)
            present_over_time(maven_wecom_build_info[1d])
        """),
        wait="2m",
        severity="critical",
        summary="A gateway does not answer Prometheus: it is down, or hangs.",
        description="{{ $labels.instance }} (job {{ $labels.job }}) has not answered for two minutes or more.",
    ),
    Alert(
        name="WeComMetricsAbsent",
        expr="absent(maven_wecom_build_info)",
        wait="5m",
        severity="critical",
        summary="No gateway is being watched: nothing else can alert.",
        description="No target of this Prometheus exports maven_wecom_build_info.",
    ),
    Alert(
        name="WeComRestarting",
        expr=f"changes(process_start_time_seconds[1h]) >= {RESTARTS} {_OURS}",
        wait="1m",
        severity="warning",
        summary="A gateway is restarted again and again.",
        description="{{ $labels.instance }} was started {{ $value | humanize }} times in the last hour.",
    ),
    Alert(
        name="WeComFileDescriptorsRunningOut",
        expr=f"process_open_fds / process_max_fds > {DESCRIPTORS_SHARE} {_OURS}",
        wait="5m",
        severity="warning",
        summary="A gateway has nearly as many files and connections open as it may.",
        description="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its file descriptors.",
    ),
)

GROUPS: Final[dict[str, tuple[Alert, ...]]] = {
    "wecom-answers": _ANSWERS,
    "wecom-callbacks": _CALLBACKS,
    "wecom-inside": _INSIDE,
    "wecom-process": _PROCESS,
}
ALERTS: Final = tuple(alert for group in GROUPS.values() for alert in group)
