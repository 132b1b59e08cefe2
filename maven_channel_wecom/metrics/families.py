"""The families of one registry: names, sentences, labels, buckets. Several channels share them."""

from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Gauge

from maven_channel_wecom.metrics.counts import Counts, Distributions

# A bucket stands exactly at each objective: 1 s and 5 s for an acknowledgement, 60 s and 3,600 s for an answer.
_CALLBACK_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ANSWER_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MEDIA_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# The last one is where an admission is given up.
_STATE_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 3.0)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

_Family = Counts | Gauge | Distributions


class Families:
    """The metric families of one registry. Several channels share them and differ in the label `channel`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.channels: set[str] = set()
        self.all: list[_Family] = []

        def add(kind: type[Any], name: str, text: str, labels: Sequence[str] = (), **options: Any) -> Any:  # noqa: ANN401 - one of three kinds
            family = kind(f"maven_wecom_{name}", text, ("channel", *labels), registry=registry, **options)
            self.all.append(family)
            return family

        self.callbacks: Counts = add(
            Counts, "callbacks", "Callbacks by kind and how they were answered.", ("kind", "outcome")
        )
        self.callback_seconds: Distributions = add(
            Distributions,
            "callback_seconds",
            "Seconds from the arrival of a callback to its acknowledgement.",
            buckets=_CALLBACK_BUCKETS,
        )
        self.last_callback_timestamp_seconds: Gauge = add(
            Gauge,
            "last_callback_timestamp_seconds",
            "When the last callback whose signature held came, in Unix time; 0 before the first.",
        )
        self.clock_skew_seconds: Gauge = add(
            Gauge,
            "clock_skew_seconds",
            "This machine's clock minus the timestamp WeCom signed, of the last accepted callback.",
        )
        self.connections: Gauge = add(Gauge, "connections", "Open connections on the callback port.")
        self.connections_dropped: Counts = add(
            Counts,
            "connections_dropped",
            "Connections closed because there were too many, or because they took too long.",
            ("reason",),
        )
        self.dedup_hits: Counts = add(Counts, "dedup_hits", "Repeated callbacks answered without work.")
        self.inbound_messages: Counts = add(
            Counts, "inbound_messages", "Opened callbacks by type and what became of them.", ("type", "outcome")
        )
        self.media_fetches: Counts = add(
            Counts, "media_fetches", "Media items by how fetching and opening them went.", ("outcome",)
        )
        self.media_fetch_seconds: Distributions = add(
            Distributions,
            "media_fetch_seconds",
            "Seconds from the start of a fetch until the item was opened or given up.",
            buckets=_MEDIA_BUCKETS,
        )
        self.media_bytes: Gauge = add(Gauge, "media_bytes", "Bytes of media held for messages in hand.")
        self.replies: Counts = add(Counts, "replies", "Replies by outcome and reason.", ("outcome", "reason"))
        self.reply_attempts: Counts = add(Counts, "reply_attempts", "Requests made to deliver replies.")
        self.reply_retries: Counts = add(
            Counts, "reply_retries", "Repeated requests, by the reason of the repeat.", ("reason",)
        )
        self.reply_repeats: Counts = add(
            Counts, "reply_repeats", "Replies sent again because a process died while it was sending them."
        )
        self.reply_truncations: Counts = add(Counts, "reply_truncations", "Replies cut to the limit of WeCom.")
        self.reply_truncated_bytes: Counts = add(Counts, "reply_truncated_bytes", "Bytes cut off replies.")
        self.answer_seconds: Distributions = add(
            Distributions,
            "answer_seconds",
            "Seconds from the arrival of a message to the delivery of its answer.",
            buckets=_ANSWER_BUCKETS,
        )
        self.reply_windows: Gauge = add(Gauge, "reply_windows", "Messages that can still be answered.")
        self.reply_windows_expired: Counts = add(
            Counts,
            "reply_windows_expired",
            "Reply windows that expired with no reply sent through them, as this process saw.",
        )
        self.inbox_messages: Gauge = add(Gauge, "inbox_messages", "Admitted messages that are not finished.")
        self.inbox_limit: Gauge = add(Gauge, "inbox_limit", "How many messages may be in hand: inboxLimit.")
        self.inbox_oldest_seconds: Gauge = add(
            Gauge, "inbox_oldest_seconds", "Age of the oldest message that is not finished, 0 when there is none."
        )
        self.state_up: Gauge = add(Gauge, "state_up", "1 while the state can make promises, else 0.")
        self.state_seconds: Distributions = add(
            Distributions, "state_seconds", "Seconds of one step of the state.", ("operation",), buckets=_STATE_BUCKETS
        )
        self.state_failures: Counts = add(
            Counts, "state_failures", "Steps the state refused, by operation and reason.", ("operation", "reason")
        )
        self.loop_lag_seconds: Distributions = add(
            Distributions,
            "loop_lag_seconds",
            "How late the event loop was, measured about once a second.",
            buckets=_LAG_BUCKETS,
        )
        self.log_lines_suppressed: Counts = add(
            Counts, "log_lines_suppressed", "Log lines left out because others of their kind had just been written."
        )
        self.build_info: Gauge = add(Gauge, "build_info", "Always 1; the version in a label.", ("version",))


_FAMILIES: WeakKeyDictionary[CollectorRegistry, Families] = WeakKeyDictionary()


def join(registry: CollectorRegistry, channel: str) -> Families:
    """Return the families of a registry for one more channel, registered with the first."""
    families = _FAMILIES.get(registry)
    if families is None:
        families = _FAMILIES[registry] = Families(registry)
    families.channels.add(channel)
    return families


def leave(registry: CollectorRegistry, channel: str) -> None:
    """Take a channel's series off a registry, and the families with the last channel."""
    families = _FAMILIES.get(registry)
    if families is None:
        return
    families.channels.discard(channel)
    for family in families.all:
        family.remove_by_labels({"channel": channel})
    if not families.channels:
        del _FAMILIES[registry]
        for family in families.all:
            registry.unregister(family)
