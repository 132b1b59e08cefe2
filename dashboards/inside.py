"""The dashboard `wecom-inside`: messages in progress, media, the state, connections and the process."""

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
from dashboards.queries import INTERVAL, not_zero, per_minute, quantile, quantiles

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.stat import Panel as StatPanel
    from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeriesPanel
    from grafana_foundation_sdk.models.dashboard import Dashboard

_EACH = "{{channel}} {{instance}}"


def inside() -> Dashboard:
    """Return the dashboard `wecom-inside`."""
    return dashboard(
        "wecom-inside",
        "Maven WeCom / Inside",
        "What the gateway holds, waits for and runs on. The dashboard Overview shows whether users are served.",
        {
            "Messages in progress": _messages(),
            "Media": _media(),
            "State": _state(),
            "Callback port": _way_in(),
            "Process": _process(),
        },
    )


def _messages() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Inbox",
            "Messages that were acknowledged and are not finished. A steady rise means that the agent is too slow.",
            {_EACH: f"maven_wecom_inbox_messages{{{SELECTED}}}"},
            COUNT,
            span=6,
        ),
        series(
            "Inbox, share of limit",
            "The line is the threshold of WeComInboxFilling. At 100 % callbacks are answered 503.",
            {_EACH: f"maven_wecom_inbox_messages{{{SELECTED}}} / maven_wecom_inbox_limit{{{SELECTED}}}"},
            SHARE,
            limit=INBOX_FULLNESS,
            highest=1,
            span=6,
        ),
        series(
            "Oldest message in progress",
            "A sawtooth is normal; a steady rise is a hanging turn. The line is the threshold of WeComMessagesStuck.",
            {_EACH: f"maven_wecom_inbox_oldest_seconds{{{SELECTED}}}"},
            SECONDS,
            limit=OLDEST_SECONDS,
            span=6,
        ),
        series(
            "Messages by type",
            "What users send; a failed message counts at each attempt. unknown: a type that WeCom added later.",
            {"{{type}}": not_zero(per_minute("maven_wecom_inbound_messages_total", "type"))},
            PER_MINUTE,
            stacked=True,
            no_data="no messages",
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
            "Windows that expired after an hour without an answer: a user waited in vain.",
            {"{{channel}}": per_minute("maven_wecom_reply_windows_expired_total", "channel")},
            PER_MINUTE,
            span=8,
        ),
        series(
            "Messages by outcome",
            "How messages ended. failed: attempts in which the host or a plugin raised an error, which the log names. "
            "given up: messages that failed until their reply windows ended.",
            {
                "{{outcome}}": per_minute("maven_wecom_inbound_messages_total", "outcome"),
                "given up": not_zero(per_minute("maven_wecom_messages_given_up_total")),
            },
            PER_MINUTE,
            span=8,
        ),
    ]


def _media() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Pictures and files",
            "Media items by the outcome of fetching and opening them. docs/operations.md explains each outcome.",
            {"{{outcome}}": not_zero(per_minute("maven_wecom_media_fetches_total", "outcome"))},
            PER_MINUTE,
            stacked=True,
            no_data="no pictures, no files",
        ),
        series(
            "Time to download and decrypt",
            "How long media items take. Their URLs expire after five minutes.",
            quantiles("maven_wecom_media_fetch_seconds"),
            SECONDS,
            no_data="no pictures, no files",
        ),
        series(
            "Media in memory",
            "Bytes of media held for messages in progress, until the agent has answered them.",
            {_EACH: f"maven_wecom_media_bytes{{{SELECTED}}}"},
            BYTES,
        ),
    ]


def _state() -> list[StatPanel | TimeSeriesPanel]:
    return [
        stat(
            "State",
            "Whether the state is available. While it is down, every message is answered 503: see WeComStateDown.",
            f"min by (channel) (maven_wecom_state_up{{{SELECTED}}})",
            COUNT,
            value_texts={"0": ("down", "red"), "1": ("up", "green")},
            height=HIGH,
        ),
        series(
            "Duration of state operations, p99",
            "Duration of each operation. Every acknowledgement waits for admit, which times out after 3 s with a 503.",
            {"{{operation}}": quantile(0.99, "maven_wecom_state_seconds", "operation")},
            SECONDS,
            span=7,
        ),
        series(
            "State operations",
            "Operations of the state.",
            {"{{operation}}": per_minute("maven_wecom_state_seconds_count", "operation")},
            PER_MINUTE,
            stacked=True,
            span=7,
        ),
        series(
            "Failed state operations",
            "state: it is unavailable. state_full: it is full. docs/state.md says what to do about each backend.",
            {
                "{{operation}}: {{reason}}": not_zero(
                    per_minute("maven_wecom_state_failures_total", "operation, reason")
                )
            },
            PER_MINUTE,
            stacked=True,
            no_data="nothing failed",
            span=6,
        ),
    ]


def _way_in() -> list[StatPanel | TimeSeriesPanel]:
    return [
        series(
            "Connections on the callback port",
            "Open connections. WeCom, or the reverse proxy in front, needs few.",
            {_EACH: f"maven_wecom_connections{{{SELECTED}}}"},
            COUNT,
            span=8,
        ),
        series(
            "Connections dropped",
            "limit: there were too many. slow: they took too long. Their peers are not WeCom, or a proxy that keeps "
            "connections open.",
            {"{{reason}}": per_minute("maven_wecom_connections_dropped_total", "reason")},
            PER_MINUTE,
            span=8,
        ),
        series(
            "Requests rejected",
            "Requests that never became a callback: invalid HTTP, or another path. docs/operations.md explains each "
            "reason.",
            {"{{reason}}": not_zero(per_minute("maven_wecom_requests_rejected_total", "reason"))},
            PER_MINUTE,
            stacked=True,
            no_data="nothing rejected",
            span=8,
        ),
        series(
            "Clock skew",
            "This machine's clock minus the clock that signed the last callback. Beyond "
            f"{SKEW_SECONDS:g} s in either direction, WeComClockSkew fires.",
            {_EACH: f"maven_wecom_clock_skew_seconds{{{SELECTED}}}"},
            SECONDS,
            limit=SKEW_SECONDS,
            lowest=None,
            span=12,
        ),
        series(
            "Log lines suppressed",
            "The rate of log lines that outsiders can cause is limited. The next line of a kind says how many were "
            "omitted.",
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
            "Event loop lag",
            f"Share of measurements in which the loop was more than {LAG_SECONDS:g} s late. The line is the threshold "
            "of WeComLoopLagging: some code computes for too long or blocks.",
            {
                each: f"1 - sum by (instance) (rate({late}))"
                f" / (sum by (instance) (rate({lag}_count{{{SELECTED}}}[{INTERVAL}])) > 0)"
            },
            SHARE,
            limit=LAG_SHARE,
        ),
        series(
            "Event loop lag, distribution",
            "How long every callback waits before it is processed.",
            quantiles(lag),
            SECONDS,
        ),
        series(
            "CPU",
            "CPU use. 1 is one core, which is about the most that one process uses.",
            {each: f"rate(process_cpu_seconds_total{{{PROCESS}}}[{INTERVAL}]) {OF_SELECTED}"},
            COUNT,
        ),
        series(
            "Memory",
            "Resident memory. It grows with messages in progress, media, and, with `memory:`, the ids of one hour.",
            {each: f"process_resident_memory_bytes{{{PROCESS}}} {OF_SELECTED}"},
            BYTES,
            span=6,
        ),
        series(
            "File descriptors, share of limit",
            "The line is the threshold of WeComFileDescriptorsRunningOut. Each connection is a descriptor.",
            {each: f"process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}} {OF_SELECTED}"},
            SHARE,
            limit=DESCRIPTORS_SHARE,
            highest=1,
            span=6,
        ),
        series(
            "Garbage collections",
            "Python's collections by generation. One of generation 2 scans all objects and pauses the process.",
            {
                "generation {{generation}}": "60 * sum by (generation) (rate(python_gc_collections_total"
                f"{{{PROCESS}}}[{INTERVAL}]) {OF_SELECTED})"
            },
            PER_MINUTE,
            span=6,
        ),
        stat(
            "Uptime",
            "Time since the most recent start of any process.",
            f"time() - max(process_start_time_seconds{{{PROCESS}}} {OF_SELECTED})",
            SECONDS,
            span=2,
            height=HIGH,
        ),
        stat(
            "Version",
            "Version of this channel. More than one: an update is under way, or stopped halfway.",
            f"count by (version) (maven_wecom_build_info{{{SELECTED}}})",
            COUNT,
            text_label="version",
            span=2,
            height=HIGH,
        ),
        stat(
            "Python",
            "Version of Python.",
            f"count by (version) (python_info{{{PROCESS}}} {OF_SELECTED})",
            COUNT,
            text_label="version",
            span=2,
            height=HIGH,
        ),
    ]
