"""Test cases for the alerts: input series in promtool's notation, and the alerts expected to fire.

In the notation `a+bxn` means a, a+b, … with n further values. Nearly every case has two channels: `faulty`, and
`healthy`, which behaves almost the same but stays below the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

Labels = dict[str, str]
ANYWHERE = {"job": "maven"}
HERE = ANYWHERE | {"instance": "a:18790"}


@dataclass(frozen=True)
class Case:
    """A case: input series, a time after their start, and the labels and description of each alert firing then."""

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


def acknowledged(channel: str, all_of_them: str, in_time: str, refused: str = "0x200") -> dict[str, str]:
    """Return the series of acknowledged callbacks, of those within a second, and of those answered 503."""
    return {
        metric("maven_wecom_callback_seconds_count", channel): all_of_them,
        metric("maven_wecom_callback_seconds_bucket", channel, le="1.0"): in_time,
        callbacks(channel, "state"): refused,
    }


def answered(channel: str, all_of_them: str, in_time: str) -> dict[str, str]:
    """Return the series of all answers, and of those delivered within a minute."""
    return {
        replies(channel): all_of_them,
        metric("maven_wecom_answer_seconds_bucket", channel, le="60.0"): in_time,
    }


def media(channel: str, outcome: str) -> str:
    return metric("maven_wecom_media_fetches_total", channel, outcome=outcome)


def signs(channel: str, all_of_them: str, in_time: str, streams: str = "0+1x60") -> dict[str, str]:
    """Return the series of all first signs, of those within a second, and of fetched streams."""
    return {
        metric("maven_wecom_first_sign_seconds_count", channel): all_of_them,
        metric("maven_wecom_first_sign_seconds_bucket", channel, le="1.0"): in_time,
        stream_ends(channel, "fetched"): streams,
    }


def stream_ends(channel: str, outcome: str) -> str:
    return metric("maven_wecom_streams_total", channel, outcome=outcome)


def refreshes(channel: str, outcome: str) -> str:
    return metric("maven_wecom_stream_refreshes_total", channel, outcome=outcome)


def turns(outcome: str) -> str:
    return metric("maven_agent_turns_total", outcome=outcome)


def faulty(description: str, **labels: str) -> tuple[tuple[Labels, str], ...]:
    """Return the alert expected for the channel `faulty`, over all its replicas."""
    return ((ANYWHERE | {"channel": "faulty"} | labels, description),)


BUILD = metric("maven_wecom_build_info", "faulty", version="1")
AT = {"instance": "a:18790"}

CASES = (
    # The thresholds for late answers are 72 %, 30 % and 5 %.
    Case(
        "WeComAnswerBudgetBurnsFast",
        {
            **answered("faulty", "0+10x90", "0+1x90"),
            **answered("healthy", "0+10x90", "0+4x90"),
        },
        "70m",
        faulty(
            "The objective of channel faulty: 95 % of answers arrive within 60 s. "
            "Over 1h, 90% missed it. At this rate the budget for 30 days is spent within 2 days."
        ),
    ),
    # The trouble ended ten minutes ago: only the long window is still above the threshold.
    Case(
        "WeComAnswerBudgetBurnsFast",
        {**answered("faulty", "0+10x90", "0x55 10+10x35")},
        "66m",
    ),
    # Four answers an hour, all late.
    Case(
        "WeComAnswerBudgetBurnsFast",
        {**answered("faulty", "0x14 1x14 2x14 3x14 4x40", "0x100")},
        "75m",
    ),
    Case(
        "WeComAnswerBudgetBurns",
        {
            **answered("faulty", "0+100x100", "0+60x100"),
            **answered("healthy", "0+100x100", "0+80x100"),
        },
        "7h",
        faulty(
            "The objective of channel faulty: 95 % of answers arrive within 60 s. "
            "Over 6h, 40% missed it. At this rate the budget for 30 days is spent within 5 days."
        ),
        interval="5m",
    ),
    Case(
        "WeComAnswerBudgetBurns",
        {**answered("faulty", "0+100x100", "0+60x72 4420+100x20")},
        "7h",
        interval="5m",
    ),
    Case(
        "WeComAnswerBudgetBurnsSlowly",
        {
            **answered("faulty", "0+100x200", "0+90x200"),
            **answered("healthy", "0+100x200", "0+96x200"),
        },
        "80h",
        faulty(
            "The objective of channel faulty: 95 % of answers arrive within 60 s. "
            "Over 3d, 10% missed it. At this rate the budget for 30 days is spent within 30 days."
        ),
        interval="30m",
    ),
    Case(
        "WeComAnswerBudgetBurnsSlowly",
        {**answered("faulty", "0+100x200", "0+90x140 12700+100x60")},
        "80h",
        interval="30m",
    ),
    # The thresholds for callbacks, late or refused with 503, are 1.44 %, 0.6 % and 0.1 %.
    Case(
        "WeComAcknowledgeBudgetBurnsFast",
        {
            **acknowledged("faulty", "0+970x90", "0+970x90", "0+30x90"),
            **acknowledged("healthy", "0+1000x90", "0+990x90"),
            callbacks("healthy", "draining"): "0+30x90",
            callbacks("healthy", "signature"): "0+30x90",
        },
        "70m",
        faulty(
            "The objective of channel faulty: 99.9 % of genuine callbacks are acknowledged within 1 s. "
            "Over 1h, 3% missed it. At this rate the budget for 30 days is spent within 2 days."
        ),
    ),
    Case(
        "WeComAcknowledgeBudgetBurnsFast",
        {**acknowledged("faulty", "0+100x90", "0+80x55 4500+100x35")},
        "66m",
    ),
    Case(
        "WeComAcknowledgeBudgetBurns",
        {
            **acknowledged("faulty", "0+1000x100", "0+990x100"),
            **acknowledged("healthy", "0+1000x100", "0+996x100"),
        },
        "7h",
        faulty(
            "The objective of channel faulty: 99.9 % of genuine callbacks are acknowledged within 1 s. "
            "Over 6h, 1% missed it. At this rate the budget for 30 days is spent within 5 days."
        ),
        interval="5m",
    ),
    Case(
        "WeComAcknowledgeBudgetBurns",
        {**acknowledged("faulty", "0+1000x100", "0+990x72 72280+1000x20")},
        "7h",
        interval="5m",
    ),
    Case(
        "WeComAcknowledgeBudgetBurnsSlowly",
        {
            **acknowledged("faulty", "0+1000x200", "0+998x200"),
            **acknowledged("healthy", "0+10000x200", "0+9995x200"),
        },
        "80h",
        faulty(
            "The objective of channel faulty: 99.9 % of genuine callbacks are acknowledged within 1 s. "
            "Over 3d, 0.2% missed it. At this rate the budget for 30 days is spent within 30 days."
        ),
        interval="30m",
    ),
    # Below the rate at which the budget lasts 30 days.
    Case(
        "WeComAcknowledgeBudgetBurnsSlowly",
        {**acknowledged("faulty", "0+10000x200", "0+9995x200")},
        "80h",
        interval="30m",
    ),
    Case(
        "WeComAnswersUndelivered",
        {
            replies("faulty"): "0+9x60",
            replies("faulty", "refused", "errcode"): "0+1x60",
            replies("healthy"): "0+99x60",
            replies("healthy", "unknown", "timeout"): "0+1x60",
        },
        "30m",
        faulty("10% of the answers of channel faulty were not delivered in the last 15 minutes."),
    ),
    # Too few undelivered answers to alert: one of three.
    Case(
        "WeComAnswersUndelivered",
        {replies("faulty"): "0x18 1x5 2x30", replies("faulty", "undeliverable", "connect"): "0x20 1x40"},
        "30m",
    ),
    Case(
        "WeComReplyWindowsExpiring",
        {
            metric("maven_wecom_reply_windows_expired_total", "faulty"): "0+1x60",
            metric("maven_wecom_reply_windows_expired_total", "healthy"): "0x20 2x60",
        },
        "40m",
        faulty(
            "The reply windows of about 30 messages of channel faulty expired in the last 30 minutes: no answer was "
            "delivered through them within an hour."
        ),
    ),
    Case(
        "WeComReplyWindowsExpiring",
        {metric("maven_wecom_reply_windows_expired_total", "faulty"): "0+1x10 10x60"},
        "60m",
    ),
    Case(
        "WeComMessagesStuck",
        {
            metric("maven_wecom_inbox_oldest_seconds", "faulty"): "0+60x60",
            metric("maven_wecom_inbox_oldest_seconds", "healthy"): "800x60",
        },
        "30m",
        faulty(
            "The oldest message in progress of channel faulty arrived 30m 0s ago; after an hour it can no longer be "
            "answered."
        ),
    ),
    Case("WeComMessagesStuck", {metric("maven_wecom_inbox_oldest_seconds", "faulty"): "0+60x14 0x60"}, "30m"),
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
            metric("maven_wecom_inbound_messages_total", "faulty", type="text", outcome="failed"): "0+1x60",
            metric("maven_wecom_inbound_messages_total", "healthy", type="text", outcome="unsupported"): "0+1x60",
        },
        "30m",
        faulty(
            "About 15 attempts to process a message of channel faulty ended with an error of the host or of a plugin "
            "in the last 15 minutes. A message is tried again until its reply window ends."
        ),
    ),
    Case(
        "WeComMessagesFailed",
        {metric("maven_wecom_inbound_messages_total", "faulty", type="text", outcome="failed"): "0+1x5 5x60"},
        "30m",
    ),
    Case(
        "WeComMediaFailing",
        {
            media("faulty", "opened"): "0+3x60",
            media("faulty", "connect"): "0+1x60",
            media("healthy", "opened"): "0+10x60",
            media("healthy", "connect"): "0+1x60",
            media("healthy", "unsupported"): "0+9x60",
        },
        "40m",
        faulty(
            "25% of the pictures and files of channel faulty could not be fetched or opened in the last 30 minutes."
        ),
    ),
    Case("WeComMediaFailing", {media("faulty", "opened"): "0x60", media("faulty", "expired"): "0x20 4x60"}, "40m"),
    Case(
        "WeComProactiveDeliveriesSkipped",
        {
            metric("maven_wecom_proactive_skips_total", "faulty"): "0x30 1x60",
            metric("maven_wecom_proactive_skips_total", "healthy"): "7x90",
        },
        "40m",
        faulty(
            "About 1 deliveries to channel faulty were skipped in the last hour: its bot can answer but not start a "
            "conversation."
        ),
    ),
    Case("WeComProactiveDeliveriesSkipped", {metric("maven_wecom_proactive_skips_total", "faulty"): "0 1x120"}, "100m"),
    Case(
        "WeComFirstSignLate",
        {
            **signs("faulty", "0+100x60", "0+98x60"),
            **signs("healthy", "0+1000x60", "0+995x60"),
        },
        "30m",
        faulty("2% of the people who wrote to channel faulty in the last 15 minutes saw nothing for more than 1 s."),
    ),
    # A channel that does not stream, where the first sign is the answer.
    Case("WeComFirstSignLate", signs("faulty", "0+100x60", "0+1x60", streams="0x60"), "30m"),
    # One late sign at night.
    Case("WeComFirstSignLate", signs("faulty", "0x20 1x60", "0x60", streams="0x20 1x60"), "30m"),
    Case(
        "WeComStreamsNotFetched",
        {
            stream_ends("faulty", "fetched"): "0+5x60",
            stream_ends("faulty", "handed_over"): "0+3x60",
            stream_ends("faulty", "abandoned"): "0+2x60",
            stream_ends("healthy", "fetched"): "0+8x60",
            stream_ends("healthy", "ended"): "0+8x60",
            stream_ends("healthy", "handed_over"): "0+1x60",
        },
        "45m",
        faulty("No refresh took the end of 50% of the streams of channel faulty in the last 30 minutes."),
    ),
    # Too few streams to alert.
    Case(
        "WeComStreamsNotFetched",
        {stream_ends("faulty", "fetched"): "0x60", stream_ends("faulty", "handed_over"): "0x20 3x60"},
        "40m",
    ),
    Case(
        "WeComRefreshesUnknown",
        {
            refreshes("faulty", "answered"): "0+30x60",
            refreshes("faulty", "unknown"): "0+10x60",
            refreshes("healthy", "answered"): "0+300x60",
            refreshes("healthy", "unknown"): "0+10x60",
        },
        "30m",
        faulty("25% of the refreshes of channel faulty in the last 15 minutes were for streams that are not open."),
    ),
    # A restart with a few open streams.
    Case(
        "WeComRefreshesUnknown",
        {refreshes("faulty", "answered"): "0x60", refreshes("faulty", "unknown"): "0x20 6x60"},
        "30m",
    ),
    Case(
        "WeComNoCallbacks",
        {callbacks("faulty", "accepted"): "0+2x60 120x60", callbacks("healthy", "accepted"): "0+1x200"},
        "100m",
        faulty(
            "Channel faulty accepted no message for 30 minutes. In the hour before, or in the same hour a week ago, it "
            "accepted at least 60."
        ),
    ),
    # `faulty` has been silent for two days and was busy at this time a week ago; `healthy` was silent then too.
    Case(
        "WeComNoCallbacks",
        {
            callbacks("faulty", "accepted"): "0+20x900 18000x200",
            callbacks("healthy", "accepted"): "0+20x10 200x320 200+20x12 440x400",
        },
        "175h",
        faulty(
            "Channel faulty accepted no message for 30 minutes. In the hour before, or in the same hour a week ago, it "
            "accepted at least 60."
        ),
        interval="10m",
    ),
    # A bot that was never busy.
    Case("WeComNoCallbacks", {callbacks("faulty", "accepted"): "0x10 20x50 40x60"}, "110m"),
    Case(
        "WeComNothingOpens",
        {
            callbacks("faulty", "undecipherable"): "0+1x60",
            callbacks("faulty", "accepted"): "500x60",
            callbacks("healthy", "undecipherable"): "0+1x60",
            callbacks("healthy", "accepted"): "0+1x60",
            callbacks("healthy", "accepted", "event"): "0x60",
        },
        "30m",
        faulty("About 15 callbacks of channel faulty were rejected in the last 15 minutes, and none was accepted."),
    ),
    # A few forged requests at night.
    Case(
        "WeComNothingOpens",
        {callbacks("faulty", "signature"): "0x18 1 2 3 4 5x60", callbacks("faulty", "accepted"): "500x60"},
        "30m",
    ),
    Case(
        "WeComSignatureFailures",
        {
            callbacks("faulty", "signature"): "0+1x60",
            callbacks("faulty", "accepted"): "0+3x60",
            callbacks("healthy", "signature"): "0+1x60",
            callbacks("healthy", "accepted"): "0+30x60",
        },
        "30m",
        faulty("25% of the callbacks of channel faulty had a wrong signature in the last 15 minutes."),
    ),
    Case(
        "WeComSignatureFailures",
        {callbacks("faulty", "signature"): "0x18 2 4 6x60", callbacks("faulty", "accepted"): "0x60"},
        "30m",
    ),
    Case(
        "WeComClockSkew",
        {
            metric("maven_wecom_clock_skew_seconds", "faulty"): "-90x60",
            metric("maven_wecom_clock_skew_seconds", "healthy"): "-20x60",
        },
        "30m",
        faulty(
            "The clock of a:18790 and the one that signed the last callback of channel faulty are 1m 30s apart.", **AT
        ),
    ),
    # A single delayed callback.
    Case("WeComClockSkew", {metric("maven_wecom_clock_skew_seconds", "faulty"): "0x20 90x3 0x60"}, "30m"),
    Case(
        "WeComConnectionsDropped",
        {
            metric("maven_wecom_connections_dropped_total", "faulty", reason="slow"): "0+2x60",
            metric("maven_wecom_connections_dropped_total", "faulty", reason="limit"): "0+2x60",
            metric("maven_wecom_connections_dropped_total", "healthy", reason="slow"): "0+1x60",
        },
        "30m",
        faulty("a:18790 closed about 20 connections of channel faulty in the last 5 minutes.", **AT),
    ),
    Case(
        "WeComConnectionsDropped",
        {metric("maven_wecom_connections_dropped_total", "faulty", reason="slow"): "0+1x60"},
        "30m",
    ),
    Case(
        "WeComInboxFilling",
        {
            metric("maven_wecom_inbox_messages", "faulty"): "900x60",
            metric("maven_wecom_inbox_limit", "faulty"): "1000x60",
            metric("maven_wecom_inbox_messages", "healthy"): "900x60",
            metric("maven_wecom_inbox_limit", "healthy"): "2000x60",
        },
        "30m",
        faulty("The inbox of channel faulty on a:18790 is 90% full.", **AT),
    ),
    # A short burst.
    Case(
        "WeComInboxFilling",
        {
            metric("maven_wecom_inbox_messages", "faulty"): "0x20 900 0x60",
            metric("maven_wecom_inbox_limit", "faulty"): "1000x60",
        },
        "23m",
    ),
    Case(
        "WeComStateDown",
        {metric("maven_wecom_state_up", "faulty"): "1x20 0x60", metric("maven_wecom_state_up", "healthy"): "1x60"},
        "30m",
        faulty("The state of channel faulty on a:18790 has been unavailable for a minute or more.", **AT),
    ),
    Case("WeComStateDown", {metric("maven_wecom_state_up", "faulty"): "1x20 0 1x60"}, "22m"),
    Case(
        "WeComStateFailing",
        {
            metric("maven_wecom_state_failures_total", "faulty", operation="admit", reason="state"): "0+2x60",
            metric("maven_wecom_state_failures_total", "healthy", operation="admit", reason="state"): "0x20 2x60",
        },
        "23m",
        faulty("About 10 operations of the state of channel faulty on a:18790 failed in the last 5 minutes.", **AT),
    ),
    Case(
        "WeComStateFailing",
        {metric("maven_wecom_state_failures_total", "faulty", operation="admit", reason="state"): "0x20 1x60"},
        "23m",
    ),
    # All channels of a process share one event loop.
    Case(
        "WeComLoopLagging",
        {
            metric("maven_wecom_loop_lag_seconds_count", "faulty"): "0+60x60",
            metric("maven_wecom_loop_lag_seconds_bucket", "faulty", le="0.1"): "0+45x60",
            metric("maven_wecom_loop_lag_seconds_count", "healthy"): "0+60x60",
            metric("maven_wecom_loop_lag_seconds_bucket", "healthy", le="0.1"): "0+45x60",
        },
        "30m",
        ((HERE, "On a:18790 the event loop was more than 0.1 s late in 25% of the measurements."),),
    ),
    Case(
        "WeComLoopLagging",
        {
            metric("maven_wecom_loop_lag_seconds_count", "faulty"): "0+60x60",
            metric("maven_wecom_loop_lag_seconds_bucket", "faulty", le="0.1"): "0+59x60",
        },
        "30m",
    ),
    Case(
        "WeComLogLinesSuppressed",
        {
            metric("maven_wecom_log_lines_suppressed_total", "faulty"): "0+3x60",
            metric("maven_wecom_log_lines_suppressed_total", "healthy"): "4x60",
        },
        "30m",
        faulty("The log of channel faulty omitted about 45 lines in the last 15 minutes."),
    ),
    Case("WeComLogLinesSuppressed", {metric("maven_wecom_log_lines_suppressed_total", "faulty"): "0+3x5 15x60"}, "30m"),
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
    # One of two channels is still scraped.
    Case(
        "WeComMetricsAbsent",
        {BUILD: "1x10 _x60", metric("maven_wecom_build_info", "healthy", version="1"): "1x60"},
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
