"""The metrics of a channel, moved by the events of its flow.

No label is a user, a chat, an id, a URL or a text: every value it can have is known, and all series exist from the
start.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final, get_args
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from maven_channel_wecom import errors
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# A bucket ends exactly at each objective: 1 s and 5 s for an acknowledgement, 60 s and 3,600 s for an answer.
_CALLBACK_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ANSWER_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MEDIA_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# The last one is the time limit of an admission.
_STATE_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 3.0)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

_BODY_REJECTIONS: Final = frozenset(get_args(errors.BodyRejection))
_ACKNOWLEDGED: Final = ("accepted", "duplicate", "refused")
_CALLBACK_OUTCOMES: Final[Mapping[str, Sequence[str]]] = {
    "verify": ("accepted", *get_args(errors.Rejection), "error"),
    # A callback that did not open counts as a message: nobody knows what it was.
    "message": get_args(events.CallbackOutcome),
    "event": (*_ACKNOWLEDGED, *get_args(errors.Unavailability)),
}
_MESSAGE_TYPES: Final = get_args(events.MessageType)
_EVENT_TYPES: Final = get_args(events.EventType)
_INBOUND_OUTCOMES: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(_MESSAGE_TYPES, ("published", "unsupported", "failed")),
    **dict.fromkeys((*_EVENT_TYPES, "other_event"), ("acknowledged",)),
    "stream": ("unsupported",),
    "unknown": ("unsupported",),
}
_REPLY_REASONS: Final[Mapping[str, Sequence[str]]] = {
    "delivered": ("ok",),
    "undeliverable": get_args(errors.UndeliverableReason),
    "refused": get_args(errors.RefusedReason),
    "unknown": get_args(errors.UnknownReason),
}
# The label was published before the step got its present name.
_STATE_OPERATIONS: Final = {
    operation: "unfinished" if operation == "take_over" else operation for operation in get_args(events.StateOperation)
}


class _Families:
    """The metric families of one registry. Its channels share them and differ in the label `channel`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.callbacks = counter(
            "maven_wecom_callbacks_total",
            "Callbacks by kind and how they were answered.",
            ("channel", "kind", "outcome"),
        )
        self.callback_seconds = histogram(
            "maven_wecom_callback_seconds",
            "Seconds from the arrival of a callback to its acknowledgement.",
            ("channel",),
            buckets=_CALLBACK_BUCKETS,
        )
        self.last_callback_timestamp_seconds = gauge(
            "maven_wecom_last_callback_timestamp_seconds",
            "When the last callback whose signature held came, in Unix time; 0 before the first.",
            ("channel",),
        )
        self.clock_skew_seconds = gauge(
            "maven_wecom_clock_skew_seconds",
            "This machine's clock minus the timestamp WeCom signed, of the last accepted callback.",
            ("channel",),
        )
        self.requests_rejected = counter(
            "maven_wecom_requests_rejected_total",
            "Requests on the callback port that never became a callback, by reason.",
            ("channel", "reason"),
        )
        self.connections = gauge("maven_wecom_connections", "Open connections on the callback port.", ("channel",))
        self.connections_dropped = counter(
            "maven_wecom_connections_dropped_total",
            "Connections closed because there were too many, or because they took too long.",
            ("channel", "reason"),
        )
        self.dedup_hits = counter(
            "maven_wecom_dedup_hits_total", "Repeated callbacks answered without work.", ("channel",)
        )
        self.inbound_messages = counter(
            "maven_wecom_inbound_messages_total",
            "Opened callbacks by type and what became of them.",
            ("channel", "type", "outcome"),
        )
        self.media_fetches = counter(
            "maven_wecom_media_fetches_total",
            "Media items by how fetching and opening them went.",
            ("channel", "outcome"),
        )
        self.media_fetch_seconds = histogram(
            "maven_wecom_media_fetch_seconds",
            "Seconds from the start of a fetch until the item was opened or given up.",
            ("channel",),
            buckets=_MEDIA_BUCKETS,
        )
        self.media_bytes = gauge("maven_wecom_media_bytes", "Bytes of media held for messages in hand.", ("channel",))
        self.replies = counter(
            "maven_wecom_replies_total", "Replies by outcome and reason.", ("channel", "outcome", "reason")
        )
        self.reply_attempts = counter(
            "maven_wecom_reply_attempts_total", "Requests made to deliver replies.", ("channel",)
        )
        self.reply_retries = counter(
            "maven_wecom_reply_retries_total",
            "Repeated requests, by the reason of the repeat.",
            ("channel", "reason"),
        )
        self.reply_repeats = counter(
            "maven_wecom_reply_repeats_total",
            "Replies sent again because a process died while it was sending them.",
            ("channel",),
        )
        self.reply_truncations = counter(
            "maven_wecom_reply_truncations_total", "Replies cut to the limit of WeCom.", ("channel",)
        )
        self.reply_truncated_bytes = counter(
            "maven_wecom_reply_truncated_bytes_total", "Bytes cut off replies.", ("channel",)
        )
        self.answer_seconds = histogram(
            "maven_wecom_answer_seconds",
            "Seconds from the arrival of a message to the delivery of its answer.",
            ("channel",),
            buckets=_ANSWER_BUCKETS,
        )
        self.reply_windows = gauge("maven_wecom_reply_windows", "Messages that can still be answered.", ("channel",))
        self.reply_windows_expired = counter(
            "maven_wecom_reply_windows_expired_total",
            "Reply windows that expired with no reply sent through them, as this process saw.",
            ("channel",),
        )
        self.inbox_messages = gauge(
            "maven_wecom_inbox_messages", "Admitted messages that are not finished.", ("channel",)
        )
        self.inbox_limit = gauge(
            "maven_wecom_inbox_limit", "How many messages may be in hand: inboxLimit.", ("channel",)
        )
        self.inbox_oldest_seconds = gauge(
            "maven_wecom_inbox_oldest_seconds",
            "Age of the oldest message that is not finished, 0 when there is none.",
            ("channel",),
        )
        self.state_up = gauge("maven_wecom_state_up", "1 while the state can make promises, else 0.", ("channel",))
        self.state_seconds = histogram(
            "maven_wecom_state_seconds",
            "Seconds of one step of the state.",
            ("channel", "operation"),
            buckets=_STATE_BUCKETS,
        )
        self.state_failures = counter(
            "maven_wecom_state_failures_total",
            "Steps the state refused, by operation and reason.",
            ("channel", "operation", "reason"),
        )
        self.loop_lag_seconds = histogram(
            "maven_wecom_loop_lag_seconds",
            "How late the event loop was, measured about once a second.",
            ("channel",),
            buckets=_LAG_BUCKETS,
        )
        self.log_lines_suppressed = counter(
            "maven_wecom_log_lines_suppressed_total",
            "Log lines left out because others of their kind had just been written.",
            ("channel",),
        )
        self.build_info = gauge("maven_wecom_build_info", "Always 1; the version in a label.", ("channel", "version"))
        # Every attribute so far is a family.
        self.all: tuple[Counter | Gauge | Histogram, ...] = tuple(vars(self).values())
        self.channels: set[str] = set()


_FAMILIES: Final[WeakKeyDictionary[CollectorRegistry, _Families]] = WeakKeyDictionary()


class MetricsListener:
    """Counts what happens on one channel, on the registry of its host.

    Args:
        registry: the host's.
        channel: the value of the label `channel`.
        listen: registers a listener for one class of events.
        version: of this package.
    """

    def __init__(self, registry: CollectorRegistry, channel: str, listen: events.Listen, *, version: str) -> None:
        if registry not in _FAMILIES:
            _FAMILIES[registry] = _Families(registry)
        families = _FAMILIES[registry]
        families.channels.add(channel)
        self._registry = registry
        self._channel = channel
        self._families = families

        self.suppressed_lines = families.log_lines_suppressed.labels(channel)
        families.build_info.labels(channel, version).set(1)
        # The values others know: 0 until somebody calls `watch`.
        self._watched = {
            "inbox_messages": families.inbox_messages.labels(channel),
            "inbox_limit": families.inbox_limit.labels(channel),
            "inbox_oldest_seconds": families.inbox_oldest_seconds.labels(channel),
            "reply_windows": families.reply_windows.labels(channel),
            "state_up": families.state_up.labels(channel),
            "connections": families.connections.labels(channel),
            "media_bytes": families.media_bytes.labels(channel),
            "last_callback_timestamp_seconds": families.last_callback_timestamp_seconds.labels(channel),
        }
        self._count_callbacks(listen)
        self._count_messages(listen)
        self._count_replies(listen)
        self._count_state(listen)

        lag = families.loop_lag_seconds.labels(channel)
        listen(events.LoopLagged, lambda event: lag.observe(event.seconds))

    def watch(self, **gauges: Callable[[], float]) -> None:
        """Read gauges from functions whenever a scrape wants them. A KeyError is a gauge that does not exist."""
        for name, read in gauges.items():
            self._watched[name].set_function(read)

    def close(self) -> None:
        """Remove the series of this channel from the registry, and the families with the last channel."""
        families = self._families
        families.channels.discard(self._channel)
        for family in families.all:
            family.remove_by_labels({"channel": self._channel})
        if not families.channels and _FAMILIES.get(self._registry) is families:
            del _FAMILIES[self._registry]
            for family in families.all:
                self._registry.unregister(family)

    def _count_callbacks(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        callbacks = _by_values(families.callbacks, channel, _CALLBACK_OUTCOMES)
        rejected = _by_value(families.requests_rejected, channel, get_args(errors.HttpRejection))
        dropped = _by_value(families.connections_dropped, channel, get_args(errors.DropReason))
        seconds = families.callback_seconds.labels(channel)
        skew = families.clock_skew_seconds.labels(channel)
        duplicates = families.dedup_hits.labels(channel)

        def url_checked(event: events.UrlChecked) -> None:
            callbacks["verify", "accepted"].inc()
            seconds.observe(event.answered_at - event.started_at)

        def answered(event: events.CallbackAnswered) -> None:
            callbacks[event.kind, event.outcome].inc()
            # Time acknowledged callbacks only: fast rejections and slow bodies would distort the histogram.
            if event.outcome in _ACKNOWLEDGED:
                seconds.observe(event.answered_at - event.started_at)
            if event.outcome == "accepted":
                # Not of a duplicate, which WeCom signed earlier.
                skew.set(event.skew_seconds)
            elif event.outcome == "duplicate":
                duplicates.inc()

        def request_rejected(event: events.RequestRejected) -> None:
            if event.reason in _BODY_REJECTIONS:
                callbacks["message", event.reason].inc()
            else:
                rejected[event.reason].inc()

        listen(events.UrlChecked, url_checked)
        listen(events.CallbackAnswered, answered)
        listen(events.RequestRejected, request_rejected)
        listen(events.CallbackInvalid, lambda event: callbacks[event.kind, event.reason].inc())
        listen(events.CallbackUnavailable, lambda event: callbacks["message", event.reason].inc())
        listen(events.CallbackFailed, lambda event: callbacks[event.kind, "error"].inc())
        listen(events.ConnectionDropped, lambda event: dropped[event.reason].inc())

    def _count_messages(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        messages = _by_values(families.inbound_messages, channel, _INBOUND_OUTCOMES)
        media = _by_value(families.media_fetches, channel, ("opened", *get_args(errors.MediaFailure)))
        media_seconds = families.media_fetch_seconds.labels(channel)

        def answered(event: events.CallbackAnswered) -> None:
            if event.outcome != "accepted":
                return
            if event.kind == "event":
                type_ = event.event if event.event in _EVENT_TYPES else "other_event"
                messages[type_, "acknowledged"].inc()
            elif event.type not in _MESSAGE_TYPES:
                # WeCom's own texts are no label values: it may add a type at any time.
                messages["stream" if event.type == "stream" else "unknown", "unsupported"].inc()

        def media_ended(event: events.MediaEnded) -> None:
            media[event.outcome].inc()
            if event.seconds is not None:
                media_seconds.observe(event.seconds)

        listen(events.CallbackAnswered, answered)
        listen(events.MessageEnded, lambda event: messages[event.type, event.outcome].inc())
        listen(events.MediaEnded, media_ended)

    def _count_replies(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        replies = _by_values(families.replies, channel, _REPLY_REASONS)
        attempts = families.reply_attempts.labels(channel)
        repeats = families.reply_repeats.labels(channel)
        retries = _by_value(families.reply_retries, channel, get_args(errors.RetryReason))
        truncations = families.reply_truncations.labels(channel)
        truncated_bytes = families.reply_truncated_bytes.labels(channel)
        answer_seconds = families.answer_seconds.labels(channel)

        def attempt_started(event: events.AttemptStarted) -> None:
            attempts.inc()
            if event.repeated and event.attempt == 1:
                repeats.inc()

        def ended(event: events.ReplyEnded) -> None:
            replies[event.outcome, event.reason or "ok"].inc()
            if event.truncated_bytes:
                truncations.inc()
                truncated_bytes.inc(event.truncated_bytes)
            if event.outcome == "delivered" and event.seconds is not None:
                answer_seconds.observe(event.seconds)

        listen(events.AttemptStarted, attempt_started)
        listen(events.AttemptRetried, lambda event: retries[event.reason].inc())
        listen(events.ReplyEnded, ended)

    def _count_state(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        seconds = {step: families.state_seconds.labels(channel, label) for step, label in _STATE_OPERATIONS.items()}
        failures = {
            (step, reason): families.state_failures.labels(channel, label, reason)
            for (step, label), reason in product(_STATE_OPERATIONS.items(), get_args(errors.StateFailure))
        }
        expired = families.reply_windows_expired.labels(channel)
        expired_so_far = 0

        def step_ended(event: events.StateStepEnded) -> None:
            seconds[event.operation].observe(event.seconds)
            if event.failure is not None:
                failures[event.operation, event.failure].inc()

        def windows_expired(event: events.WindowsExpired) -> None:
            nonlocal expired_so_far
            expired.inc(event.so_far - expired_so_far)
            expired_so_far = event.so_far

        listen(events.StateStepEnded, step_ended)
        listen(events.WindowsExpired, windows_expired)


def _by_value(family: Counter, channel: str, values: Sequence[str]) -> dict[str, Counter]:
    """Return the series of a family with one label beside the channel."""
    return {value: family.labels(channel, value) for value in values}


def _by_values(family: Counter, channel: str, values: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Counter]:
    """Return the series of a family with two labels beside the channel: the second values by the first one."""
    return {
        (first, second): family.labels(channel, first, second)
        for first, seconds in values.items()
        for second in seconds
    }
