"""What each alert is shown, and what it must say: series in promtool's notation, `a+bxn` is a, a+b, … n times on.

Nearly every case has two channels: the one named `sick`, and `well`, which does nearly the same and alerts nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

Labels = dict[str, str]
ANYWHERE = {"job": "maven"}
HERE = ANYWHERE | {"instance": "a:18790"}


@dataclass(frozen=True)
class Case:
    """Series, a time since their start, and what fires then: the labels of each, beside its description."""

    alert: str
    series: dict[str, str]
    at: str
    fires: tuple[tuple[Labels, str], ...] = ()
    interval: str = "1m"


def metric(name: str, channel: str = "", **labels: str) -> str:
    """Return one series as a gateway exports it."""
    given = ({"channel": channel} if channel else {}) | labels | HERE
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in given.items()) + "}"


def callbacks(channel: str, outcome: str, kind: str = "message") -> str:
    return metric("maven_wecom_callbacks_total", channel, kind=kind, outcome=outcome)


def replies(channel: str, outcome: str = "delivered", reason: str = "ok") -> str:
    return metric("maven_wecom_replies_total", channel, outcome=outcome, reason=reason)


def promptly(channel: str, all_of_them: str, in_time: str, refused: str = "0x200") -> dict[str, str]:
    """Return callbacks acknowledged, those of them within a second, and those answered 503."""
    return {
        metric("maven_wecom_callback_seconds_count", channel): all_of_them,
        metric("maven_wecom_callback_seconds_bucket", channel, le="1.0"): in_time,
        callbacks(channel, "state"): refused,
    }


def answered(channel: str, all_of_them: str, in_time: str) -> dict[str, str]:
    """Return answers, and those of them that were delivered within a minute."""
    return {
        replies(channel): all_of_them,
        metric("maven_wecom_answer_seconds_bucket", channel, le="60.0"): in_time,
    }


def media(channel: str, outcome: str) -> str:
    return metric("maven_wecom_media_fetches_total", channel, outcome=outcome)


def turns(outcome: str) -> str:
    return metric("maven_agent_turns_total", outcome=outcome)


def sick(description: str, **labels: str) -> tuple[tuple[Labels, str], ...]:
    """Return what fires for the channel `sick`, all replicas taken together."""
    return ((ANYWHERE | {"channel": "sick"} | labels, description),)


BUILD = metric("maven_wecom_build_info", "sick", version="1")
AT = {"instance": "a:18790"}

CASES = (
    # Answers: 72 %, 30 % and 5 % of them late is too much.
    Case(
        "WeComAnswerBudgetBurnsFast",
        {
            **answered("sick", "0+10x90", "0+1x90"),
            **answered("well", "0+10x90", "0+4x90"),
        },
        "70m",
        sick(
            "Promised for channel sick is that 95 % of answers arrive within 60 s. Over 1h, 90% were not. "
            "At this pace the budget for 30 days is spent in 2 days or sooner."
        ),
    ),
    # Over for ten minutes: the long window still says so, the short one does not.
    Case(
        "WeComAnswerBudgetBurnsFast",
        {**answered("sick", "0+10x90", "0x55 10+10x35")},
        "66m",
    ),
    # Four answers an hour, all late.
    Case(
        "WeComAnswerBudgetBurnsFast",
        {**answered("sick", "0x14 1x14 2x14 3x14 4x40", "0x100")},
        "75m",
    ),
    Case(
        "WeComAnswerBudgetBurns",
        {
            **answered("sick", "0+100x100", "0+60x100"),
            **answered("well", "0+100x100", "0+80x100"),
        },
        "7h",
        sick(
            "Promised for channel sick is that 95 % of answers arrive within 60 s. Over 6h, 40% were not. "
            "At this pace the budget for 30 days is spent in 5 days or sooner."
        ),
        interval="5m",
    ),
    Case(
        "WeComAnswerBudgetBurns",
        {**answered("sick", "0+100x100", "0+60x72 4420+100x20")},
        "7h",
        interval="5m",
    ),
    Case(
        "WeComAnswerBudgetBurnsSlowly",
        {
            **answered("sick", "0+100x200", "0+90x200"),
            **answered("well", "0+100x200", "0+96x200"),
        },
        "80h",
        sick(
            "Promised for channel sick is that 95 % of answers arrive within 60 s. Over 3d, 10% were not. "
            "At this pace the budget for 30 days is spent in 30 days or sooner."
        ),
        interval="30m",
    ),
    Case(
        "WeComAnswerBudgetBurnsSlowly",
        {**answered("sick", "0+100x200", "0+90x140 12700+100x60")},
        "80h",
        interval="30m",
    ),
    # Callbacks: 1.44 %, 0.6 % and 0.1 %, whether late or refused with 503.
    Case(
        "WeComAcknowledgeBudgetBurnsFast",
        {
            **promptly("sick", "0+970x90", "0+970x90", "0+30x90"),
            **promptly("well", "0+1000x90", "0+990x90"),
            callbacks("well", "draining"): "0+30x90",
            callbacks("well", "signature"): "0+30x90",
        },
        "70m",
        sick(
            "Promised for channel sick is that 99.9 % of genuine callbacks are acknowledged within 1 s. "
            "Over 1h, 3% were not. "
            "At this pace the budget for 30 days is spent in 2 days or sooner."
        ),
    ),
    Case(
        "WeComAcknowledgeBudgetBurnsFast",
        {**promptly("sick", "0+100x90", "0+80x55 4500+100x35")},
        "66m",
    ),
    Case(
        "WeComAcknowledgeBudgetBurns",
        {
            **promptly("sick", "0+1000x100", "0+990x100"),
            **promptly("well", "0+1000x100", "0+996x100"),
        },
        "7h",
        sick(
            "Promised for channel sick is that 99.9 % of genuine callbacks are acknowledged within 1 s. "
            "Over 6h, 1% were not. "
            "At this pace the budget for 30 days is spent in 5 days or sooner."
        ),
        interval="5m",
    ),
    Case(
        "WeComAcknowledgeBudgetBurns",
        {**promptly("sick", "0+1000x100", "0+990x72 72280+1000x20")},
        "7h",
        interval="5m",
    ),
    Case(
        "WeComAcknowledgeBudgetBurnsSlowly",
        {
            **promptly("sick", "0+1000x200", "0+998x200"),
            **promptly("well", "0+10000x200", "0+9995x200"),
        },
        "80h",
        sick(
            "Promised for channel sick is that 99.9 % of genuine callbacks are acknowledged within 1 s. "
            "Over 3d, 0.2% were not. "
            "At this pace the budget for 30 days is spent in 30 days or sooner."
        ),
        interval="30m",
    ),
    # Late or refused so rarely that it may go on for ever.
    Case(
        "WeComAcknowledgeBudgetBurnsSlowly",
        {**promptly("sick", "0+10000x200", "0+9995x200")},
        "80h",
        interval="30m",
    ),
    Case(
        "WeComAnswersUndelivered",
        {
            replies("sick"): "0+9x60",
            replies("sick", "refused", "errcode"): "0+1x60",
            replies("well"): "0+99x60",
            replies("well", "unknown", "timeout"): "0+1x60",
        },
        "30m",
        sick("10% of the answers of channel sick were not delivered in the last 15 minutes."),
    ),
    # One of three at night is nobody's emergency.
    Case(
        "WeComAnswersUndelivered",
        {replies("sick"): "0x18 1x5 2x30", replies("sick", "undeliverable", "connect"): "0x20 1x40"},
        "30m",
    ),
    Case(
        "WeComReplyWindowsExpiring",
        {
            metric("maven_wecom_reply_windows_expired_total", "sick"): "0+1x60",
            metric("maven_wecom_reply_windows_expired_total", "well"): "0x20 2x60",
        },
        "40m",
        sick(
            "About 30 messages of channel sick lost their reply window in the last 30 minutes: an hour passed, and no "
            "answer went through it."
        ),
    ),
    Case(
        "WeComReplyWindowsExpiring",
        {metric("maven_wecom_reply_windows_expired_total", "sick"): "0+1x10 10x60"},
        "60m",
    ),
    Case(
        "WeComMessagesStuck",
        {
            metric("maven_wecom_inbox_oldest_seconds", "sick"): "0+60x60",
            metric("maven_wecom_inbox_oldest_seconds", "well"): "800x60",
        },
        "30m",
        sick(
            "The oldest message in hand of channel sick came 30m 0s ago; after an hour it cannot be answered any more."
        ),
    ),
    Case("WeComMessagesStuck", {metric("maven_wecom_inbox_oldest_seconds", "sick"): "0+60x14 0x60"}, "30m"),
    Case(
        "WeComAgentFailing",
        {turns("answered"): "0+8x60", turns("failed"): "0+2x60"},
        "30m",
        ((ANYWHERE, "20% of the agent's turns failed in the last 15 minutes."),),
    ),
    Case("WeComAgentFailing", {turns("answered"): "0+95x60", turns("failed"): "0+5x60"}, "30m"),
    Case("WeComAgentFailing", {turns("answered"): "0x60", turns("failed"): "0x16 1x4 2x40"}, "30m"),
    Case(
        "WeComMessagesFailed",
        {
            metric("maven_wecom_inbound_messages_total", "sick", type="text", outcome="failed"): "0+1x60",
            metric("maven_wecom_inbound_messages_total", "well", type="text", outcome="unsupported"): "0+1x60",
        },
        "30m",
        sick(
            "About 15 messages of channel sick ended with an error of the host or of a plugin in the last 15 minutes. "
            "Nobody answers them unless WeCom sends them again."
        ),
    ),
    Case(
        "WeComMessagesFailed",
        {metric("maven_wecom_inbound_messages_total", "sick", type="text", outcome="failed"): "0+1x5 5x60"},
        "30m",
    ),
    Case(
        "WeComMediaFailing",
        {
            media("sick", "opened"): "0+3x60",
            media("sick", "connect"): "0+1x60",
            media("well", "opened"): "0+10x60",
            media("well", "connect"): "0+1x60",
            media("well", "unsupported"): "0+9x60",
        },
        "40m",
        sick("25% of the pictures and files of channel sick could not be fetched or opened in the last 30 minutes."),
    ),
    Case("WeComMediaFailing", {media("sick", "opened"): "0x60", media("sick", "expired"): "0x20 4x60"}, "40m"),
    Case(
        "WeComProactiveDeliveriesSkipped",
        {
            metric("maven_wecom_proactive_skips_total", "sick"): "0x30 1x60",
            metric("maven_wecom_proactive_skips_total", "well"): "7x90",
        },
        "40m",
        sick("About 1 deliveries to channel sick were skipped in the last hour: it can answer, and never speak first."),
    ),
    Case("WeComProactiveDeliveriesSkipped", {metric("maven_wecom_proactive_skips_total", "sick"): "0 1x120"}, "100m"),
    Case(
        "WeComNoCallbacks",
        {callbacks("sick", "accepted"): "0+2x60 120x60", callbacks("well", "accepted"): "0+1x200"},
        "100m",
        sick(
            "Channel sick accepted no message for 30 minutes. The hour before, or the same hour a week ago, brought at "
            "least 60."
        ),
    ),
    # Still silent after two days, and busy at this time a week ago; the other one is silent at this time every week.
    Case(
        "WeComNoCallbacks",
        {
            callbacks("sick", "accepted"): "0+20x900 18000x200",
            callbacks("well", "accepted"): "0+20x10 200x320 200+20x12 440x400",
        },
        "175h",
        sick(
            "Channel sick accepted no message for 30 minutes. The hour before, or the same hour a week ago, brought at "
            "least 60."
        ),
        interval="10m",
    ),
    # A quiet bot that is quiet.
    Case("WeComNoCallbacks", {callbacks("sick", "accepted"): "0x10 20x50 40x60"}, "110m"),
    Case(
        "WeComNothingOpens",
        {
            callbacks("sick", "undecipherable"): "0+1x60",
            callbacks("sick", "accepted"): "500x60",
            callbacks("well", "undecipherable"): "0+1x60",
            callbacks("well", "accepted"): "0+1x60",
            callbacks("well", "accepted", "event"): "0x60",
        },
        "30m",
        sick("About 15 callbacks of channel sick were rejected in the last 15 minutes, and none was accepted."),
    ),
    # A stranger who tries a few times at night.
    Case(
        "WeComNothingOpens",
        {callbacks("sick", "signature"): "0x18 1 2 3 4 5x60", callbacks("sick", "accepted"): "500x60"},
        "30m",
    ),
    Case(
        "WeComSignatureFailures",
        {
            callbacks("sick", "signature"): "0+1x60",
            callbacks("sick", "accepted"): "0+3x60",
            callbacks("well", "signature"): "0+1x60",
            callbacks("well", "accepted"): "0+30x60",
        },
        "30m",
        sick("25% of the callbacks of channel sick had a wrong signature in the last 15 minutes."),
    ),
    Case(
        "WeComSignatureFailures",
        {callbacks("sick", "signature"): "0x18 2 4 6x60", callbacks("sick", "accepted"): "0x60"},
        "30m",
    ),
    Case(
        "WeComClockSkew",
        {
            metric("maven_wecom_clock_skew_seconds", "sick"): "-90x60",
            metric("maven_wecom_clock_skew_seconds", "well"): "-20x60",
        },
        "30m",
        sick("The clock of a:18790 and the one that signed the last callback of channel sick are 1m 30s apart.", **AT),
    ),
    # One callback that was long on its way.
    Case("WeComClockSkew", {metric("maven_wecom_clock_skew_seconds", "sick"): "0x20 90x3 0x60"}, "30m"),
    Case(
        "WeComConnectionsDropped",
        {
            metric("maven_wecom_connections_dropped_total", "sick", reason="slow"): "0+2x60",
            metric("maven_wecom_connections_dropped_total", "sick", reason="limit"): "0+2x60",
            metric("maven_wecom_connections_dropped_total", "well", reason="slow"): "0+1x60",
        },
        "30m",
        sick("a:18790 closed about 20 connections of channel sick in the last 5 minutes.", **AT),
    ),
    Case(
        "WeComConnectionsDropped",
        {metric("maven_wecom_connections_dropped_total", "sick", reason="slow"): "0+1x60"},
        "30m",
    ),
    Case(
        "WeComInboxFilling",
        {
            metric("maven_wecom_inbox_messages", "sick"): "900x60",
            metric("maven_wecom_inbox_limit", "sick"): "1000x60",
            metric("maven_wecom_inbox_messages", "well"): "900x60",
            metric("maven_wecom_inbox_limit", "well"): "2000x60",
        },
        "30m",
        sick("The inbox of channel sick on a:18790 is 90% full.", **AT),
    ),
    # A burst.
    Case(
        "WeComInboxFilling",
        {
            metric("maven_wecom_inbox_messages", "sick"): "0x20 900 0x60",
            metric("maven_wecom_inbox_limit", "sick"): "1000x60",
        },
        "23m",
    ),
    Case(
        "WeComStateDown",
        {metric("maven_wecom_state_up", "sick"): "1x20 0x60", metric("maven_wecom_state_up", "well"): "1x60"},
        "30m",
        sick("The state of channel sick on a:18790 has been away for a minute or more.", **AT),
    ),
    Case("WeComStateDown", {metric("maven_wecom_state_up", "sick"): "1x20 0 1x60"}, "22m"),
    Case(
        "WeComStateFailing",
        {
            metric("maven_wecom_state_failures_total", "sick", operation="admit", reason="state"): "0+2x60",
            metric("maven_wecom_state_failures_total", "well", operation="admit", reason="state"): "0x20 2x60",
        },
        "23m",
        sick("The state of channel sick on a:18790 refused about 10 steps in the last 5 minutes.", **AT),
    ),
    Case(
        "WeComStateFailing",
        {metric("maven_wecom_state_failures_total", "sick", operation="admit", reason="state"): "0x20 1x60"},
        "23m",
    ),
    # One loop for all channels of a process.
    Case(
        "WeComLoopLagging",
        {
            metric("maven_wecom_loop_lag_seconds_count", "sick"): "0+60x60",
            metric("maven_wecom_loop_lag_seconds_bucket", "sick", le="0.1"): "0+45x60",
            metric("maven_wecom_loop_lag_seconds_count", "well"): "0+60x60",
            metric("maven_wecom_loop_lag_seconds_bucket", "well", le="0.1"): "0+45x60",
        },
        "30m",
        ((HERE, "On a:18790 25% of the looks found the event loop more than 0.1 s late."),),
    ),
    Case(
        "WeComLoopLagging",
        {
            metric("maven_wecom_loop_lag_seconds_count", "sick"): "0+60x60",
            metric("maven_wecom_loop_lag_seconds_bucket", "sick", le="0.1"): "0+59x60",
        },
        "30m",
    ),
    Case(
        "WeComLogLinesSuppressed",
        {
            metric("maven_wecom_log_lines_suppressed_total", "sick"): "0+3x60",
            metric("maven_wecom_log_lines_suppressed_total", "well"): "4x60",
        },
        "30m",
        sick("The log of channel sick left out about 45 lines in the last 15 minutes."),
    ),
    Case("WeComLogLinesSuppressed", {metric("maven_wecom_log_lines_suppressed_total", "sick"): "0+3x5 15x60"}, "30m"),
    Case(
        "WeComTargetDown",
        {BUILD: "1x10 _x60", metric("up"): "1x10 0x60", 'up{job="node",instance="b:9100"}': "0x70"},
        "30m",
        ((HERE, "a:18790 (job maven) has not answered for two minutes or more."),),
    ),
    Case("WeComTargetDown", {BUILD: "1x60", metric("up"): "1x20 0 1x60"}, "30m"),
    Case(
        "WeComMetricsAbsent",
        {BUILD: "1x10 _x60"},
        "30m",
        (({}, "No target of this Prometheus exports maven_wecom_build_info."),),
    ),
    # One of two channels is still there.
    Case(
        "WeComMetricsAbsent",
        {BUILD: "1x10 _x60", metric("maven_wecom_build_info", "well", version="1"): "1x60"},
        "30m",
    ),
    Case(
        "WeComRestarting",
        {
            BUILD: "1x60",
            metric("process_start_time_seconds"): "100x10 200x10 300x10 400x30",
            'process_start_time_seconds{job="node",instance="b:9100"}': "0+1x60",
        },
        "40m",
        ((HERE, "a:18790 was started 3 times in the last hour."),),
    ),
    Case("WeComRestarting", {BUILD: "1x60", metric("process_start_time_seconds"): "100x10 200x60"}, "40m"),
    Case(
        "WeComFileDescriptorsRunningOut",
        {
            BUILD: "1x60",
            metric("process_open_fds"): "900x60",
            metric("process_max_fds"): "1000x60",
            'process_open_fds{job="node",instance="b:9100"}': "99x60",
            'process_max_fds{job="node",instance="b:9100"}': "100x60",
        },
        "30m",
        ((HERE, "a:18790 uses 90% of its file descriptors."),),
    ),
    Case(
        "WeComFileDescriptorsRunningOut",
        {BUILD: "1x60", metric("process_open_fds"): "700x60", metric("process_max_fds"): "1000x60"},
        "30m",
    ),
)
