"""The second dashboard: what the gateway is busy with, and what it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.objectives import (
    DESCRIPTORS_SHARE,
    INBOX_FULLNESS,
    LAG_SECONDS,
    LAG_SHARE,
    OLDEST_SECONDS,
    SKEW_SECONDS,
)
from dashboards.panels import (
    BYTES,
    COUNT,
    HIGH,
    OURS,
    PER_MINUTE,
    PROCESS,
    SECONDS,
    SELECTED,
    SHARE,
    dashboard,
    series,
    stat,
)
from dashboards.queries import INTERVAL, not_zero, per_minute, quantile, quantiles

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.stat import Panel as StatPanel
    from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeriesPanel
    from grafana_foundation_sdk.models.dashboard import Dashboard

_EACH = "{{channel}} {{instance}}"


def inside() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        "wecom-inside",
        "Maven WeCom / Inside",
        "What the gateway holds, what it waits for, and what it runs on. Whether users are served: Overview.",
        {
            "Messages in hand": _messages(),
            "Media": _media(),
            "State": _state(),
            "The way in": _way_in(),
            "Process": _process(),
        },
    )


def _messages() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Inbox",
            "Messages that were acknowledged and are not finished. A slope that does not end: the agent is too slow.",
            {_EACH: f"maven_wecom_inbox_messages{{{SELECTED}}}"},
            COUNT,
            span=6,
        ),
        series(
            "Inbox, of its limit",
            "The line is where WeComInboxFilling begins. At 100 % callbacks are answered 503.",
            {_EACH: f"maven_wecom_inbox_messages{{{SELECTED}}} / maven_wecom_inbox_limit{{{SELECTED}}}"},
            SHARE,
            limit=INBOX_FULLNESS,
            highest=1,
            span=6,
        ),
        series(
            "Oldest message in hand",
            "A sawtooth is work; a slope is a turn that hangs. The line is where WeComMessagesStuck begins.",
            {_EACH: f"maven_wecom_inbox_oldest_seconds{{{SELECTED}}}"},
            SECONDS,
            limit=OLDEST_SECONDS,
            span=6,
        ),
        series(
            "Messages by type",
            "What users send. unknown is a type WeCom added later.",
            {"{{type}}": not_zero(per_minute("maven_wecom_inbound_messages_total", "type"))},
            PER_MINUTE,
            stacked=True,
            none="no messages",
            span=6,
        ),
        series(
            "Reply windows open",
            "Messages that can still be answered. Without traffic they fall to zero within the hour.",
            {_EACH: f"maven_wecom_reply_windows{{{SELECTED}}}"},
            COUNT,
            span=8,
        ),
        series(
            "Reply windows expired",
            "Windows that closed after an hour with no answer sent through them: somebody waited in vain.",
            {"{{channel}}": per_minute("maven_wecom_reply_windows_expired_total", "channel")},
            PER_MINUTE,
            span=8,
        ),
        series(
            "What became of messages",
            "failed: the host or a plugin raised an error; the log names it.",
            {"{{outcome}}": per_minute("maven_wecom_inbound_messages_total", "outcome")},
            PER_MINUTE,
            span=8,
        ),
    ]


def _media() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Pictures and files",
            "By how fetching and opening them went; what each outcome means: docs/operations.md.",
            {"{{outcome}}": not_zero(per_minute("maven_wecom_media_fetches_total", "outcome"))},
            PER_MINUTE,
            stacked=True,
            none="no pictures, no files",
        ),
        series(
            "Time to fetch and open",
            "Their URLs live five minutes.",
            quantiles("maven_wecom_media_fetch_seconds"),
            SECONDS,
            none="no pictures, no files",
        ),
        series(
            "Media in memory",
            "Bytes held for messages in hand, until the agent has answered them.",
            {_EACH: f"maven_wecom_media_bytes{{{SELECTED}}}"},
            BYTES,
        ),
    ]


def _state() -> list[StatPanel | TimeSeriesPanel]:
    return [
        stat(
            "State",
            "Whether it can make promises. Down: every message is refused with 503, see WeComStateDown.",
            f"min by (channel) (maven_wecom_state_up{{{SELECTED}}})",
            COUNT,
            words={"0": ("down", "red"), "1": ("up", "green")},
            height=HIGH,
        ),
        series(
            "Time of a step, 99 % are faster",
            "admit is in the way of every acknowledgement; it is given up after 3 s and answered 503.",
            {"{{operation}}": quantile(0.99, "maven_wecom_state_seconds", "operation")},
            SECONDS,
            span=7,
        ),
        series(
            "Steps",
            "What the state is asked to do.",
            {"{{operation}}": per_minute("maven_wecom_state_seconds_count", "operation")},
            PER_MINUTE,
            stacked=True,
            span=7,
        ),
        series(
            "Steps refused",
            "state: it is away. state_full: it has no room. docs/state.md says what to do about each backend.",
            {
                "{{operation}}: {{reason}}": not_zero(
                    per_minute("maven_wecom_state_failures_total", "operation, reason")
                )
            },
            PER_MINUTE,
            stacked=True,
            none="nothing refused",
            span=6,
        ),
    ]


def _way_in() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Connections on the callback port",
            "WeCom, or the proxy in front, needs few.",
            {_EACH: f"maven_wecom_connections{{{SELECTED}}}"},
            COUNT,
            span=8,
        ),
        series(
            "Connections dropped",
            "limit: there were too many. slow: they took too long. Both are somebody else, or a proxy that holds on.",
            {"{{reason}}": per_minute("maven_wecom_connections_dropped_total", "reason")},
            PER_MINUTE,
            span=8,
        ),
        series(
            "Requests rejected",
            "Requests that never became a callback: no plain HTTP, or another path. Why: docs/operations.md.",
            {"{{reason}}": not_zero(per_minute("maven_wecom_requests_rejected_total", "reason"))},
            PER_MINUTE,
            stacked=True,
            none="nothing rejected",
            span=8,
        ),
        series(
            "Clock, ahead of WeCom's",
            f"This machine's clock minus the one that signed the last callback. Beyond {SKEW_SECONDS:g} s either way: "
            "WeComClockSkew.",
            {_EACH: f"maven_wecom_clock_skew_seconds{{{SELECTED}}}"},
            SECONDS,
            limit=SKEW_SECONDS,
            lowest=None,
            span=12,
        ),
        series(
            "Log lines left out",
            "Lines that somebody outside can cause are limited; the next one of a kind says how many were left out.",
            {"{{channel}}": per_minute("maven_wecom_log_lines_suppressed_total", "channel")},
            PER_MINUTE,
            span=12,
        ),
    ]


def _process() -> list[StatPanel | TimeSeriesPanel]:
    lag = "maven_wecom_loop_lag_seconds"
    late = f'{lag}_bucket{{{SELECTED}, le="{LAG_SECONDS}"}}[{INTERVAL}]'
    each = "{{instance}}"
    return [
        series(
            "Event loop, late",
            f"Share of the looks that found the loop more than {LAG_SECONDS:g} s late. The line is where "
            "WeComLoopLagging begins: something computes or waits where it must not.",
            {
                each: f"1 - sum by (instance) (rate({late}))"
                f" / (sum by (instance) (rate({lag}_count{{{SELECTED}}}[{INTERVAL}])) > 0)"
            },
            SHARE,
            limit=LAG_SHARE,
        ),
        series(
            "Event loop, how late",
            "Every callback waits that long before anybody looks at it.",
            quantiles(lag),
            SECONDS,
        ),
        series(
            "Processor",
            "1 is one core, and one process uses no more than about that.",
            {each: f"rate(process_cpu_seconds_total{{{PROCESS}}}[{INTERVAL}]) {OURS}"},
            COUNT,
        ),
        series(
            "Memory",
            "Resident memory. It grows with messages in hand, their media, and one hour of message ids.",
            {each: f"process_resident_memory_bytes{{{PROCESS}}} {OURS}"},
            BYTES,
            span=6,
        ),
        series(
            "File descriptors, of the limit",
            "The line is where WeComFileDescriptorsRunningOut begins. Connections are descriptors.",
            {each: f"process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}} {OURS}"},
            SHARE,
            limit=DESCRIPTORS_SHARE,
            highest=1,
            span=6,
        ),
        series(
            "Garbage collections",
            "Of Python, by generation. Generation 2 looks at everything and stops the process for it.",
            {
                "generation {{generation}}": "60 * sum by (generation) (rate(python_gc_collections_total"
                f"{{{PROCESS}}}[{INTERVAL}]) {OURS})"
            },
            PER_MINUTE,
            span=6,
        ),
        stat(
            "Up for",
            "Time since the last start of any of the processes.",
            f"time() - max(process_start_time_seconds{{{PROCESS}}} {OURS})",
            SECONDS,
            span=2,
            height=HIGH,
        ),
        stat(
            "Version",
            "Of this channel. Several at a time: an update is under way, or stopped halfway.",
            f"count by (version) (maven_wecom_build_info{{{SELECTED}}})",
            COUNT,
            text_of="version",
            span=2,
            height=HIGH,
        ),
        stat(
            "Python",
            "That runs it.",
            f"count by (version) (python_info{{{PROCESS}}} {OURS})",
            COUNT,
            text_of="version",
            span=2,
            height=HIGH,
        ),
    ]
