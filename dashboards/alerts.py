"""Every alert, grouped by subject: first the symptoms that users notice, then the causes."""

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
    FIRST_SIGN_SECONDS,
    FIRST_SIGN_SHARE,
    FIRST_SIGNS_LATE,
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
    STREAMS_NOT_FETCHED,
    STREAMS_SHARE,
    UNDELIVERED_ANSWERS,
    UNDELIVERED_SHARE,
    UNKNOWN_REFRESHES,
    UNKNOWN_SHARE,
    UNOPENED_CALLBACKS,
    in_seconds,
)
from dashboards.rules import REPLICA, Alert, errors, promql, ratio

if TYPE_CHECKING:
    from dashboards.objectives import Burn, Objective


def _budget_alert(objective: Objective, burn: Burn) -> Alert:
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
            "acknowledge": "WeCom's callbacks are turned away or acknowledged too late.",
            "answer": "Users get their answers late or not at all.",
        }[objective.name],
        description=(
            f"The objective of channel {{{{ $labels.channel }}}}: {objective.statement}. Over {burn.long}, "
            f"{{{{ $value | humanizePercentage }}}} missed it. At this rate the budget for 30 days is spent within "
            f"{30 / burn.factor:.0f} days."
        ),
    )


def _share(bad: str, *, of: str, without: str, window: str, more_than: float, at_least: int) -> str:
    """Return the expression for a share of bad events that is too high, and for more of them than a few.

    `bad` and `of` are counters with their matchers; `without` are the labels over which they are summed.
    """
    count, total = (f"sum without ({REPLICA}, {without}) (increase({counter}[{window}]))" for counter in (bad, of))
    return promql(f"""
        {count}
        /
        ({total} > 0)
        > {more_than}
        and
        {count}
        >= {at_least}
    """)


_ANSWERS: Final = (
    *(_budget_alert(ANSWER, burn) for burn in BURNS),
    Alert(
        name="WeComAnswersUndelivered",
        expr=_share(
            'maven_wecom_replies_total{outcome!="delivered", reason!="silent"}',
            of='maven_wecom_replies_total{reason!="silent"}',
            without="outcome, reason",
            window="15m",
            more_than=UNDELIVERED_SHARE,
            at_least=UNDELIVERED_ANSWERS,
        ),
        wait="2m",
        keep="5m",
        severity="critical",
        summary="The agent answers, but its answers do not reach the users.",
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
        summary="Messages stay unanswered until their reply windows expire.",
        description=(
            "The reply windows of about {{ $value | humanize }} messages of channel {{ $labels.channel }} expired in "
            "the last 30 minutes: no answer was delivered through them within an hour."
        ),
    ),
    Alert(
        name="WeComMessagesStuck",
        expr=f"max without ({REPLICA}) (maven_wecom_inbox_oldest_seconds) > {OLDEST_SECONDS:g}",
        wait="2m",
        severity="critical",
        summary="A message has been in progress for too long: the agent hangs.",
        description=(
            "The oldest message in progress of channel {{ $labels.channel }} arrived {{ $value | humanizeDuration }} "
            "ago; after an hour it can no longer be answered."
        ),
    ),
    Alert(
        name="WeComAgentFailing",
        expr=_share(
            'maven_agent_turns_total{outcome="failed"}',
            of="maven_agent_turns_total",
            without="outcome",
            window="15m",
            more_than=AGENT_SHARE,
            at_least=AGENT_FAILURES,
        ),
        wait="2m",
        keep="5m",
        severity="critical",
        summary="The agent is unavailable or refuses requests: users get an apology instead of an answer.",
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
        summary="Messages failed on the way to the agent.",
        description=(
            "About {{ $value | humanize }} attempts to process a message of channel {{ $labels.channel }} ended with "
            "an error of the host or of a plugin in the last 15 minutes. A message is tried again until its reply "
            "window ends."
        ),
    ),
    Alert(
        name="WeComMediaFailing",
        expr=_share(
            'maven_wecom_media_fetches_total{outcome!~"opened|unsupported|no_url"}',
            of='maven_wecom_media_fetches_total{outcome!~"unsupported|no_url"}',
            without="outcome",
            window="30m",
            more_than=MEDIA_SHARE,
            at_least=MEDIA_FAILURES,
        ),
        wait="5m",
        severity="warning",
        summary="Pictures and files cannot be fetched or opened: the agent learns only that one arrived.",
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
        summary="A cron job delivers to WeCom, where a bot can only answer.",
        description=(
            "About {{ $value | humanize }} deliveries to channel {{ $labels.channel }} were skipped in the last hour: "
            "its bot can answer but not start a conversation."
        ),
    ),
    # Only of channels that stream: without progress, the first sign is the answer, which takes as long as the agent.
    Alert(
        name="WeComFirstSignLate",
        expr=promql(f"""
            1
            -
            sum without ({REPLICA}, le) (rate(maven_wecom_first_sign_seconds_bucket{{le="{FIRST_SIGN_SECONDS}"}}[15m]))
            /
            (sum without ({REPLICA}) (rate(maven_wecom_first_sign_seconds_count[15m])) > 0)
            > {FIRST_SIGN_SHARE}
            and
            sum without ({REPLICA}) (increase(maven_wecom_first_sign_seconds_count[15m]))
            -
            sum without ({REPLICA}, le)
              (increase(maven_wecom_first_sign_seconds_bucket{{le="{FIRST_SIGN_SECONDS}"}}[15m]))
            >= {FIRST_SIGNS_LATE}
            and
            sum without ({REPLICA}, outcome) (increase(maven_wecom_streams_total[15m])) > 0
        """),
        wait="2m",
        keep="5m",
        severity="warning",
        summary="People who write to a bot that streams see nothing for too long.",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of the people who wrote to channel {{{{ $labels.channel }}}} in "
            f"the last 15 minutes saw nothing for more than {FIRST_SIGN_SECONDS:g} s."
        ),
    ),
    Alert(
        name="WeComStreamsNotFetched",
        expr=_share(
            'maven_wecom_streams_total{outcome=~"handed_over|abandoned"}',
            of="maven_wecom_streams_total",
            without="outcome",
            window="30m",
            more_than=STREAMS_SHARE,
            at_least=STREAMS_NOT_FETCHED,
        ),
        wait="5m",
        keep="5m",
        severity="warning",
        summary="WeCom's refreshes do not reach the streams: answers arrive late and in one piece.",
        description=(
            "No refresh took the end of {{ $value | humanizePercentage }} of the streams of channel "
            "{{ $labels.channel }} in the last 30 minutes."
        ),
    ),
    Alert(
        name="WeComRefreshesUnknown",
        expr=_share(
            'maven_wecom_stream_refreshes_total{outcome="unknown"}',
            of="maven_wecom_stream_refreshes_total",
            without="outcome",
            window="15m",
            more_than=UNKNOWN_SHARE,
            at_least=UNKNOWN_REFRESHES,
        ),
        wait="2m",
        keep="5m",
        severity="warning",
        summary="WeCom asks for streams that the gateway does not know.",
        description=(
            "{{ $value | humanizePercentage }} of the refreshes of channel {{ $labels.channel }} in the last "
            "15 minutes were for streams that are not open."
        ),
    ),
)

_CALLBACKS: Final = (
    *(_budget_alert(ACKNOWLEDGE, burn) for burn in BURNS),
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
        summary="A bot that was busy no longer receives any messages.",
        description=(
            "Channel {{ $labels.channel }} accepted no message for 30 minutes. In the hour before, or in the same hour "
            f"a week ago, it accepted at least {BUSY_CALLBACKS}."
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
        summary="Callbacks arrive but none can be opened: the token or the key differs from WeCom's.",
        description=(
            "About {{ $value | humanize }} callbacks of channel {{ $labels.channel }} were rejected in the last 15 "
            "minutes, and none was accepted."
        ),
    ),
    Alert(
        name="WeComSignatureFailures",
        expr=_share(
            'maven_wecom_callbacks_total{outcome="signature"}',
            of="maven_wecom_callbacks_total",
            without="kind, outcome",
            window="15m",
            more_than=SIGNATURE_SHARE,
            at_least=SIGNATURE_FAILURES,
        ),
        wait="5m",
        keep="10m",
        severity="warning",
        summary="Callbacks have wrong signatures: a wrong token, or requests that WeCom did not send.",
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
        summary="Connections to the callback port are closed because they are too many or too slow.",
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
        summary="The inbox is nearly full; when it is full, callbacks are turned away.",
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
        summary="The state is unavailable: every message is turned away.",
        description=(
            "The state of channel {{ $labels.channel }} on {{ $labels.instance }} has been unavailable for a minute or "
            "more."
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
        summary="Operations of the state fail: messages are turned away, or replies wait.",
        description=(
            "About {{ $value | humanize }} operations of the state of channel {{ $labels.channel }} on "
            "{{ $labels.instance }} failed in the last 5 minutes."
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
        summary="Something blocks the event loop and delays every callback.",
        description=(
            f"On {{{{ $labels.instance }}}} the event loop was more than {LAG_SECONDS:g} s late in "
            "{{ $value | humanizePercentage }} of the measurements."
        ),
    ),
    Alert(
        name="WeComLogLinesSuppressed",
        expr=f"sum without ({REPLICA}) (increase(maven_wecom_log_lines_suppressed_total[15m])) > 0",
        wait="1m",
        severity="info",
        summary="The log omits lines because too many of one kind are written at once.",
        description=(
            "The log of channel {{ $labels.channel }} omitted about {{ $value | humanize }} lines in the last "
            "15 minutes."
        ),
    ),
)

# Metrics of the process have no label `channel`; this join keeps those of gateways.
_OF_GATEWAYS: Final = "and on (job, instance) maven_wecom_build_info"

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
        summary="A gateway does not answer Prometheus: it is down or hangs.",
        description="{{ $labels.instance }} (job {{ $labels.job }}) has not answered for two minutes or more.",
    ),
    Alert(
        name="WeComMetricsAbsent",
        expr="absent(maven_wecom_build_info)",
        wait="5m",
        severity="critical",
        summary="No gateway is being scraped: no other alert can fire.",
        description="No target of this Prometheus exports maven_wecom_build_info.",
    ),
    Alert(
        name="WeComRestarting",
        expr=f"changes(process_start_time_seconds[1h]) >= {RESTARTS} {_OF_GATEWAYS}",
        wait="1m",
        severity="warning",
        summary="A gateway is restarted again and again.",
        description="{{ $labels.instance }} was started {{ $value | humanize }} times in the last hour.",
    ),
    Alert(
        name="WeComFileDescriptorsRunningOut",
        expr=f"process_open_fds / process_max_fds > {DESCRIPTORS_SHARE} {_OF_GATEWAYS}",
        wait="5m",
        severity="warning",
        summary="A gateway is close to its limit of open files and connections.",
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
