"""The series of one channel: counted, observed and set by those who know what happened."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry

from maven_channel_wecom.metrics.counts import Count, Counts
from maven_channel_wecom.metrics.families import join, leave
from maven_channel_wecom.metrics.labels import (
    CALLBACK_OUTCOMES,
    DROP_REASONS,
    INBOUND_OUTCOMES,
    STATE_FAILURES,
    STATE_OPERATIONS,
)

# Gauges that somebody else knows: 0 until `watch`.
_WATCHED: Final = (
    "inbox_messages",
    "inbox_oldest_seconds",
    "reply_windows",
    "state_up",
    "connections",
    "media_bytes",
)


class ChannelMetrics:
    """The series of one channel on its host's registry. All exist from the start; `close` removes them.

    Args:
        registry: the host's.
        channel: the label every series has.
        media_outcomes: what a media fetch may end as.
        reply_reasons: by outcome, why a reply ended so.
        retry_reasons: why an attempt may be repeated.
        version: of this package.
    """

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
        families = join(registry, channel)
        self._registry = registry
        self._families = families
        self._channel = channel
        self.last_callback_at = 0.0
        """When the last callback whose signature held came, in Unix time. Plain numbers: they are set for each one."""
        self.clock_skew_seconds = 0.0
        """This machine's clock minus the timestamp of the last accepted callback."""
        self.callback_seconds = families.callback_seconds.labels(channel)
        self.dedup_hits = families.dedup_hits.labels(channel)
        self.media_fetch_seconds = families.media_fetch_seconds.labels(channel)
        self.reply_attempts = families.reply_attempts.labels(channel)
        self.reply_repeats = families.reply_repeats.labels(channel)
        self.reply_truncations = families.reply_truncations.labels(channel)
        self.reply_truncated_bytes = families.reply_truncated_bytes.labels(channel)
        self.answer_seconds = families.answer_seconds.labels(channel)
        self.inbox_limit = families.inbox_limit.labels(channel)
        self.loop_lag_seconds = families.loop_lag_seconds.labels(channel)
        self.log_lines_suppressed = families.log_lines_suppressed.labels(channel)
        self.state_seconds = {step: families.state_seconds.labels(channel, step) for step in STATE_OPERATIONS}
        """By operation."""
        self._callbacks = _series(families.callbacks, channel, CALLBACK_OUTCOMES)
        self._inbound_messages = _series(families.inbound_messages, channel, INBOUND_OUTCOMES)
        self._replies = _series(families.replies, channel, reply_reasons)
        self._state_failures = _series(
            families.state_failures, channel, dict.fromkeys(STATE_OPERATIONS, STATE_FAILURES)
        )
        self._media_fetches = {outcome: families.media_fetches.labels(channel, outcome) for outcome in media_outcomes}
        self._retries = {reason: families.reply_retries.labels(channel, reason) for reason in retry_reasons}
        self._dropped = {reason: families.connections_dropped.labels(channel, reason) for reason in DROP_REASONS}
        self._expired = families.reply_windows_expired.labels(channel)
        self._expired_seen = 0
        families.build_info.labels(channel, version).set(1)
        for gauge in _WATCHED:
            getattr(families, gauge).labels(channel)
        self.watch(
            last_callback_timestamp_seconds=lambda: self.last_callback_at,
            clock_skew_seconds=lambda: self.clock_skew_seconds,
        )

    def watch(self, **gauges: Callable[[], float]) -> None:
        """Let gauges, named as in `families`, ask for their value whenever they are read."""
        for name, read in gauges.items():
            getattr(self._families, name).labels(self._channel).set_function(read)

    def count_callback(self, kind: str, outcome: str) -> None:
        """Count one callback; a KeyError is a label value missing in `labels`."""
        self._callbacks[kind, outcome].inc()

    def count_dropped_connection(self, reason: str) -> None:
        """Count one connection closed by us, one of DROP_REASONS."""
        self._dropped[reason].inc()

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

    def count_expired_windows(self, so_far: int) -> None:
        """Bring the counter to what the state has seen expire since it was opened."""
        self._expired.inc(so_far - self._expired_seen)
        self._expired_seen = so_far

    def count_state_failure(self, operation: str, reason: str) -> None:
        """Count one step the state refused."""
        self._state_failures[operation, reason].inc()

    def close(self) -> None:
        """Take this channel's series off the registry."""
        leave(self._registry, self._channel)


def _series(family: Counts, channel: str, values: Mapping[Any, Sequence[str]]) -> dict[tuple[str, str], Count]:
    return {
        (first, second): family.labels(channel, first, second)
        for first, seconds in values.items()
        for second in seconds
    }
