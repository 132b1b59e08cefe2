"""The Prometheus metrics of a channel, updated by its events.

No label value is a user, a chat, an id, a URL or a text. All label values are known in advance, and all series exist
from the start.
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

# Some bucket bounds equal the objectives (1 s, 60 s) and WeCom's limits (5 s, 3,600 s).
_CALLBACK_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ANSWER_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_FIRST_SIGN_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)
_REFRESH_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0)
_MEDIA_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# The last bound is the time limit of an admission.
_STATE_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 3.0)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

_BODY_REJECTIONS: Final = frozenset(get_args(errors.BodyRejection))
_ACKNOWLEDGED: Final = ("accepted", "duplicate", "refused")
_CALLBACK_OUTCOMES: Final[Mapping[str, Sequence[str]]] = {
    "verify": ("accepted", *get_args(errors.Rejection), "error"),
    # A callback that could not be opened counts as a message, because its kind is unknown.
    "message": get_args(events.CallbackOutcome),
    "event": (*_ACKNOWLEDGED, *get_args(errors.Unavailability)),
}
_MESSAGE_TYPES: Final = get_args(events.MessageType)
_EVENT_TYPES: Final = get_args(events.EventType)
_INBOUND_OUTCOMES: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(_MESSAGE_TYPES, get_args(events.MessageOutcome)),
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
# The label `unfinished` was published before the operation was renamed to `take_over`.
_STATE_OPERATIONS: Final = {
    operation: "unfinished" if operation == "take_over" else operation for operation in get_args(events.StateOperation)
}


class _Families:
    """The metric families of one registry. Its channels share them and are distinguished by the label `channel`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.callbacks = counter(
            "maven_wecom_callbacks_total",
            "Callbacks by kind and outcome.",
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
            "Unix time of the last callback with a valid signature; 0 before the first.",
            ("channel",),
        )
        self.clock_skew_seconds = gauge(
            "maven_wecom_clock_skew_seconds",
            "Local time minus the timestamp signed by WeCom, in seconds, for the last accepted callback.",
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
            "Connections closed because there were too many or because they were too slow, by reason.",
            ("channel", "reason"),
        )
        self.dedup_hits = counter(
            "maven_wecom_dedup_hits_total",
            "Repeated callbacks that were acknowledged and not processed again.",
            ("channel",),
        )
        self.inbound_messages = counter(
            "maven_wecom_inbound_messages_total",
            "Accepted callbacks by type and outcome; `failed` counts every attempt.",
            ("channel", "type", "outcome"),
        )
        self.messages_given_up = counter(
            "maven_wecom_messages_given_up_total",
            "Messages that failed until their reply windows ended, so that the agent never answers them.",
            ("channel",),
        )
        self.welcomes = counter(
            "maven_wecom_welcomes_total",
            "People greeted when they entered the chat.",
            ("channel",),
        )
        self.media_fetches = counter(
            "maven_wecom_media_fetches_total",
            "Media items by the outcome of their download and decryption.",
            ("channel", "outcome"),
        )
        self.media_fetch_seconds = histogram(
            "maven_wecom_media_fetch_seconds",
            "Seconds from the start of a media download until the item was decrypted or failed.",
            ("channel",),
            buckets=_MEDIA_BUCKETS,
        )
        self.media_bytes = gauge(
            "maven_wecom_media_bytes",
            "Bytes of memory used or reserved for the media of messages in progress.",
            ("channel",),
        )
        self.streams = counter(
            "maven_wecom_streams_total",
            "Streams opened by acknowledgements, by how they ended.",
            ("channel", "outcome"),
        )
        self.stream_refreshes = counter(
            "maven_wecom_stream_refreshes_total",
            "Callbacks that asked for the newest text of a stream, by how they were answered.",
            ("channel", "outcome"),
        )
        self.stream_refresh_seconds = histogram(
            "maven_wecom_stream_refresh_seconds",
            "Seconds from the arrival of a refresh callback to its answer.",
            ("channel",),
            buckets=_REFRESH_BUCKETS,
        )
        self.stream_progress_ignored = counter(
            "maven_wecom_stream_progress_ignored_total",
            "Texts pushed by the host for messages without an open stream.",
            ("channel",),
        )
        self.first_sign_seconds = histogram(
            "maven_wecom_first_sign_seconds",
            "Seconds from the arrival of a message to the first thing that its sender can see: a frame or the answer.",
            ("channel",),
            buckets=_FIRST_SIGN_BUCKETS,
        )
        self.replies = counter(
            "maven_wecom_replies_total", "Replies by outcome and reason.", ("channel", "outcome", "reason")
        )
        self.reply_attempts = counter(
            "maven_wecom_reply_attempts_total", "POST requests made to deliver replies.", ("channel",)
        )
        self.reply_retries = counter(
            "maven_wecom_reply_retries_total",
            "Retries of requests to deliver replies, by the reason for the retry.",
            ("channel", "reason"),
        )
        self.reply_repeats = counter(
            "maven_wecom_reply_repeats_total",
            "Replies to messages of which an earlier reply may have arrived.",
            ("channel",),
        )
        self.reply_truncations = counter(
            "maven_wecom_reply_truncations_total", "Replies truncated to WeCom's size limit.", ("channel",)
        )
        self.reply_truncated_bytes = counter(
            "maven_wecom_reply_truncated_bytes_total", "Bytes cut off truncated replies.", ("channel",)
        )
        self.explanations = counter(
            "maven_wecom_explanations_total",
            "Sentences of the channel sent in place of an answer, by the reason why there is none.",
            ("channel", "reason"),
        )
        self.feedback = counter(
            "maven_wecom_feedback_total", "Ratings of answers by the people who read them.", ("channel", "kind")
        )
        self.feedback_reasons = counter(
            "maven_wecom_feedback_reasons_total",
            "Reasons given for ratings of answers as inaccurate; a rating may have several.",
            ("channel", "reason"),
        )
        self.answer_seconds = histogram(
            "maven_wecom_answer_seconds",
            "Seconds from the arrival of a message to the delivery of its answer.",
            ("channel",),
            buckets=_ANSWER_BUCKETS,
        )
        self.reply_windows = gauge(
            "maven_wecom_reply_windows", "Open reply windows: messages that can still be answered.", ("channel",)
        )
        self.reply_windows_expired = counter(
            "maven_wecom_reply_windows_expired_total",
            "Reply windows that this process saw expire without a reply.",
            ("channel",),
        )
        self.inbox_messages = gauge(
            "maven_wecom_inbox_messages", "Messages in progress: admitted and not finished.", ("channel",)
        )
        self.inbox_limit = gauge(
            "maven_wecom_inbox_limit", "Maximum number of messages in progress (inboxLimit).", ("channel",)
        )
        self.inbox_oldest_seconds = gauge(
            "maven_wecom_inbox_oldest_seconds",
            "Age of the oldest message in progress, in seconds; 0 if there is none.",
            ("channel",),
        )
        self.state_up = gauge("maven_wecom_state_up", "1 if the state can admit messages, otherwise 0.", ("channel",))
        self.state_seconds = histogram(
            "maven_wecom_state_seconds",
            "Duration of state operations in seconds.",
            ("channel", "operation"),
            buckets=_STATE_BUCKETS,
        )
        self.state_failures = counter(
            "maven_wecom_state_failures_total",
            "Failed state operations, by operation and reason.",
            ("channel", "operation", "reason"),
        )
        self.loop_lag_seconds = histogram(
            "maven_wecom_loop_lag_seconds",
            "Delay of the event loop in seconds, measured about once a second.",
            ("channel",),
            buckets=_LAG_BUCKETS,
        )
        self.log_lines_suppressed = counter(
            "maven_wecom_log_lines_suppressed_total",
            "Log lines suppressed by rate limiting.",
            ("channel",),
        )
        self.build_info = gauge(
            "maven_wecom_build_info",
            "Always 1; the label version holds the version of the package.",
            ("channel", "version"),
        )
        # All attributes set above are families.
        self.all: tuple[Counter | Gauge | Histogram, ...] = tuple(vars(self).values())
        self.channels: set[str] = set()


_FAMILIES: Final[WeakKeyDictionary[CollectorRegistry, _Families]] = WeakKeyDictionary()


class MetricsListener:
    """Updates the metrics of one channel, on the host's registry.

    Args:
        registry: the host's registry.
        channel: the value of the label `channel`.
        listen: registers a listener for one class of events.
        version: the version of this package.
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
        # Gauges that are read from functions; 0 until `watch` sets the function.
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
        self._count_streams(listen)
        self._count_replies(listen)
        self._count_state(listen)

        lag = families.loop_lag_seconds.labels(channel)
        listen(events.LoopLagged, lambda event: lag.observe(event.seconds))

    def watch(self, **gauges: Callable[[], float]) -> None:
        """Set the functions that return the values of gauges at each scrape. Raises KeyError for an unknown gauge."""
        for name, read in gauges.items():
            self._watched[name].set_function(read)

    def close(self) -> None:
        """Remove the series of this channel from the registry, and with the last channel the metric families."""
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
            # Only acknowledged callbacks are timed: fast rejections and slow bodies would distort the histogram.
            if event.outcome in _ACKNOWLEDGED:
                seconds.observe(event.answered_at - event.started_at)
            if event.outcome == "accepted":
                # A duplicate may have been signed much earlier.
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
        given_up = families.messages_given_up.labels(channel)
        media = _by_value(families.media_fetches, channel, ("opened", *get_args(errors.MediaFailure)))
        media_seconds = families.media_fetch_seconds.labels(channel)

        def answered(event: events.CallbackAnswered) -> None:
            if event.outcome != "accepted":
                return
            if event.kind == "event":
                type_ = event.event if event.event in _EVENT_TYPES else "other_event"
                messages[type_, "acknowledged"].inc()
            elif event.type not in _MESSAGE_TYPES:
                # WeCom may add types at any time, so an unknown type must not become a label value.
                messages["stream" if event.type == "stream" else "unknown", "unsupported"].inc()

        def message_ended(event: events.MessageEnded) -> None:
            # Messages of unknown types were counted when they were acknowledged.
            if event.type in _MESSAGE_TYPES:
                messages[event.type, event.outcome].inc()

        def media_ended(event: events.MediaEnded) -> None:
            media[event.outcome].inc()
            if event.seconds is not None:
                media_seconds.observe(event.seconds)

        listen(events.CallbackAnswered, answered)
        listen(events.MessageEnded, message_ended)
        listen(events.MessageGivenUp, lambda _event: given_up.inc())
        listen(events.MediaEnded, media_ended)
        welcomes = families.welcomes.labels(channel)
        listen(events.PersonWelcomed, lambda _: welcomes.inc())

    def _count_streams(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        streams = _by_value(families.streams, channel, get_args(errors.StreamOutcome))
        refreshes = _by_value(families.stream_refreshes, channel, get_args(errors.RefreshOutcome))
        refresh_seconds = families.stream_refresh_seconds.labels(channel)
        ignored = families.stream_progress_ignored.labels(channel)
        first_sign_seconds = families.first_sign_seconds.labels(channel)

        def refresh_answered(event: events.RefreshAnswered) -> None:
            refreshes[event.outcome].inc()
            refresh_seconds.observe(event.answered_at - event.started_at)

        listen(events.StreamEnded, lambda event: streams[event.outcome].inc())
        listen(events.RefreshAnswered, refresh_answered)
        listen(events.ProgressIgnored, lambda _event: ignored.inc())
        listen(events.FirstSignShown, lambda event: first_sign_seconds.observe(event.seconds))

    def _count_replies(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        replies = _by_values(families.replies, channel, _REPLY_REASONS)
        attempts = families.reply_attempts.labels(channel)
        repeats = families.reply_repeats.labels(channel)
        retries = _by_value(families.reply_retries, channel, get_args(errors.RetryReason))
        truncations = families.reply_truncations.labels(channel)
        truncated_bytes = families.reply_truncated_bytes.labels(channel)
        explanations = _by_value(families.explanations, channel, get_args(errors.ExplanationReason))
        feedback = _by_value(families.feedback, channel, get_args(errors.FeedbackKind))
        feedback_reasons = _by_value(families.feedback_reasons, channel, get_args(errors.FeedbackReason))
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

        def feedback_received(event: events.FeedbackReceived) -> None:
            feedback[event.kind].inc()
            for reason in event.reasons:
                feedback_reasons[reason].inc()

        listen(events.AttemptStarted, attempt_started)
        listen(events.AttemptRetried, lambda event: retries[event.reason].inc())
        listen(events.ReplyEnded, ended)
        listen(events.FeedbackReceived, feedback_received)
        listen(events.PersonExplained, lambda event: explanations[event.reason].inc())

    def _count_state(self, listen: events.Listen) -> None:
        channel, families = self._channel, self._families
        seconds = {
            operation: families.state_seconds.labels(channel, label) for operation, label in _STATE_OPERATIONS.items()
        }
        failures = {
            (operation, reason): families.state_failures.labels(channel, label, reason)
            for (operation, label), reason in product(_STATE_OPERATIONS.items(), get_args(errors.StateFailure))
        }
        expired = families.reply_windows_expired.labels(channel)
        expired_so_far = 0

        def operation_ended(event: events.StateOperationEnded) -> None:
            seconds[event.operation].observe(event.seconds)
            if event.failure is not None:
                failures[event.operation, event.failure].inc()

        def windows_expired(event: events.WindowsExpired) -> None:
            nonlocal expired_so_far
            expired.inc(event.so_far - expired_so_far)
            expired_so_far = event.so_far

        listen(events.StateOperationEnded, operation_ended)
        listen(events.WindowsExpired, windows_expired)


def _by_value(family: Counter, channel: str, values: Sequence[str]) -> dict[str, Counter]:
    """Return the series of a family that has one label besides the channel, by the value of that label."""
    return {value: family.labels(channel, value) for value in values}


def _by_values(family: Counter, channel: str, values: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Counter]:
    """Return the series of a family that has two labels besides the channel, by the values of both labels.

    `values` maps each value of the first label to the possible values of the second.
    """
    return {
        (first, second): family.labels(channel, first, second)
        for first, seconds in values.items()
        for second in seconds
    }
