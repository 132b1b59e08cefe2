"""Every metric of the channel and every value its labels can have.

Nothing here may be a user, a chat, an id, a URL or a text: the number of series is fixed when a channel starts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REJECTIONS: Final = (
    "malformed",
    "xml",
    "too_large",
    "slow",
    "aborted",
    "method",
    "signature",
    "undecipherable",
    "receiver",
    "stale",
)
UNAVAILABILITIES: Final = ("inbox_full", "draining", "state", "state_full", "error")

CALLBACK_OUTCOMES: Final = {
    "verify": ("accepted", *REJECTIONS, "error"),
    # A callback that did not open is counted as a message: nobody knows what it was.
    "message": ("accepted", "duplicate", "refused", *REJECTIONS, *UNAVAILABILITIES),
    "event": ("accepted", "duplicate", "refused", *UNAVAILABILITIES),
}
_MESSAGE_TYPES: Final = ("text", "image", "mixed", "voice", "file", "video")
_EVENT_TYPES: Final = ("enter_chat", "template_card_event", "feedback_event", "other_event")
INBOUND_OUTCOMES: Final = {
    **dict.fromkeys(_MESSAGE_TYPES, ("published", "unsupported", "failed")),
    **dict.fromkeys(_EVENT_TYPES, ("acknowledged",)),
    "stream": ("unsupported",),
    "unknown": ("unsupported",),
}

# A bucket stands exactly at each objective: 1 s and 5 s for an acknowledgement, 60 s and 3,600 s for an answer.
_CALLBACK_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ANSWER_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MEDIA_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_Family = Counter | Gauge | Histogram


class _Families:
    """The metric families of one registry. Several channels share them and differ in the label `channel`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.channels: set[str] = set()
        self.all: list[_Family] = []

        def add(kind: type[Any], name: str, text: str, labels: Sequence[str] = (), **options: Any) -> Any:  # noqa: ANN401 - one of three kinds
            family = kind(f"maven_wecom_{name}", text, ("channel", *labels), registry=registry, **options)
            self.all.append(family)
            return family

        self.callbacks: Counter = add(
            Counter, "callbacks", "Callbacks by kind and how they were answered.", ("kind", "outcome")
        )
        self.callback_seconds: Histogram = add(
            Histogram,
            "callback_seconds",
            "Seconds from the arrival of a callback to its acknowledgement.",
            buckets=_CALLBACK_BUCKETS,
        )
        self.dedup_hits: Counter = add(Counter, "dedup_hits", "Repeated callbacks answered without work.")
        self.inbound_messages: Counter = add(
            Counter, "inbound_messages", "Opened callbacks by type and what became of them.", ("type", "outcome")
        )
        self.media_fetches: Counter = add(
            Counter, "media_fetches", "Media items by how fetching and opening them went.", ("outcome",)
        )
        self.media_fetch_seconds: Histogram = add(
            Histogram,
            "media_fetch_seconds",
            "Seconds from the start of a fetch until the item was opened or given up.",
            buckets=_MEDIA_BUCKETS,
        )
        self.replies: Counter = add(Counter, "replies", "Replies by outcome and reason.", ("outcome", "reason"))
        self.reply_attempts: Counter = add(Counter, "reply_attempts", "Requests made to deliver replies.")
        self.reply_retries: Counter = add(
            Counter, "reply_retries", "Repeated requests, by the reason of the repeat.", ("reason",)
        )
        self.reply_repeats: Counter = add(
            Counter, "reply_repeats", "Replies sent again because a process died while it was sending them."
        )
        self.reply_truncations: Counter = add(Counter, "reply_truncations", "Replies cut to the limit of WeCom.")
        self.reply_truncated_bytes: Counter = add(Counter, "reply_truncated_bytes", "Bytes cut off replies.")
        self.answer_seconds: Histogram = add(
            Histogram,
            "answer_seconds",
            "Seconds from the arrival of a message to the delivery of its answer.",
            buckets=_ANSWER_BUCKETS,
        )
        self.reply_windows: Gauge = add(Gauge, "reply_windows", "Messages that can still be answered.")
        self.inbox_messages: Gauge = add(Gauge, "inbox_messages", "Admitted messages that are not finished.")
        self.inbox_oldest_seconds: Gauge = add(
            Gauge, "inbox_oldest_seconds", "Age of the oldest message that is not finished, 0 when there is none."
        )
        self.build_info: Gauge = add(Gauge, "build_info", "Always 1; the version in a label.", ("version",))


_FAMILIES: WeakKeyDictionary[CollectorRegistry, _Families] = WeakKeyDictionary()


class ChannelMetrics:
    """The series of one channel on its host's registry. All exist from the start; `close` removes them."""

    def __init__(
        self,
        registry: CollectorRegistry,
        channel: str,
        *,
        media_outcomes: Sequence[str],
        reply_reasons: Mapping[Any, Sequence[str]],
        retry_reasons: Sequence[str],
        version: str,
    ) -> None:
        families = _FAMILIES.get(registry)
        if families is None:
            families = _FAMILIES[registry] = _Families(registry)
        families.channels.add(channel)
        self._registry = registry
        self._families = families
        self._channel = channel
        self.callback_seconds = families.callback_seconds.labels(channel)
        self.dedup_hits = families.dedup_hits.labels(channel)
        self.media_fetch_seconds = families.media_fetch_seconds.labels(channel)
        self.reply_attempts = families.reply_attempts.labels(channel)
        self.reply_repeats = families.reply_repeats.labels(channel)
        self.reply_truncations = families.reply_truncations.labels(channel)
        self.reply_truncated_bytes = families.reply_truncated_bytes.labels(channel)
        self.answer_seconds = families.answer_seconds.labels(channel)
        self._callbacks = _series(families.callbacks, channel, CALLBACK_OUTCOMES)
        self._inbound_messages = _series(families.inbound_messages, channel, INBOUND_OUTCOMES)
        self._replies = _series(families.replies, channel, reply_reasons)
        self._media_fetches = {outcome: families.media_fetches.labels(channel, outcome) for outcome in media_outcomes}
        self._retries = {reason: families.reply_retries.labels(channel, reason) for reason in retry_reasons}
        families.build_info.labels(channel, version).set(1)

    def watch(
        self, inbox_messages: Callable[[], float], oldest_seconds: Callable[[], float], windows: Callable[[], float]
    ) -> None:
        """Let the gauges ask for their value when they are read."""
        self._families.inbox_messages.labels(self._channel).set_function(inbox_messages)
        self._families.inbox_oldest_seconds.labels(self._channel).set_function(oldest_seconds)
        self._families.reply_windows.labels(self._channel).set_function(windows)

    def count_callback(self, kind: str, outcome: str) -> None:
        """Count one callback; a KeyError is a label value missing in this file."""
        self._callbacks[kind, outcome].inc()

    def count_inbound_message(self, type_: str, outcome: str) -> None:
        """Count one opened callback. A type WeCom added later counts as `unknown`, an event as `other_event`."""
        self._inbound_messages[type_, outcome].inc()

    def count_media_fetch(self, outcome: str) -> None:
        """Count one media item."""
        self._media_fetches[outcome].inc()

    def count_reply(self, outcome: str, reason: str) -> None:
        """Count one reply."""
        self._replies[outcome, reason].inc()

    def count_retry(self, reason: str) -> None:
        """Count one repeated request."""
        self._retries[reason].inc()

    def close(self) -> None:
        """Take this channel's series off the registry, and the families with the last channel."""
        families = self._families
        families.channels.discard(self._channel)
        for family in families.all:
            family.remove_by_labels({"channel": self._channel})
        if not families.channels and _FAMILIES.pop(self._registry, None) is not None:
            for family in families.all:
                self._registry.unregister(family)


def _series(family: Counter, channel: str, values: Mapping[Any, Sequence[str]]) -> dict[tuple[str, str], Counter]:
    return {
        (first, second): family.labels(channel, first, second)
        for first, seconds in values.items()
        for second in seconds
    }
