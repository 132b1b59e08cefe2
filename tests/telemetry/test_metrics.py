"""The metrics of a channel, and the events that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from maven_channel_wecom import errors
from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.telemetry import Telemetry
from tests.suite_watch import record_output
from tests.telemetry.samples import SAMPLES, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.telemetry.events import TelemetryEvent


class Channel:
    """The telemetry of one channel, and the values of its series."""

    def __init__(self, registry: CollectorRegistry | None = None, name: str = "wecom") -> None:
        self.registry = registry or CollectorRegistry()
        self.name = name
        self.telemetry = Telemetry(self.registry, name, now=lambda: 1_000.0, version="1.2.3")

    def value(self, series: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"maven_wecom_{series}", {"channel": self.name, **labels})

    def changes(self, *emitted: TelemetryEvent) -> dict[str, float]:
        """Emit events and return how much each series changed, by its name and labels without `channel`."""
        before = dict(self._values())
        for each in emitted:
            self.telemetry(each)
        return {key: value - before[key] for key, value in self._values() if value != before[key]}

    def _values(self) -> Iterator[tuple[str, float]]:
        for family in self.registry.collect():
            for sample in family.samples:
                if not sample.name.endswith(("_bucket", "_created")):
                    labels = [value for label, value in sample.labels.items() if label != "channel"]
                    yield " ".join([sample.name.removeprefix("maven_wecom_"), *labels]), sample.value


def series(registry: CollectorRegistry) -> list[str]:
    """Return the lines of a scrape without the `_created` series, which the embedded host does not expose."""
    lines = record_output("/metrics", generate_latest(registry).decode()).splitlines()
    return [line for line in lines if not line.startswith("#") and "_created{" not in line]


def test_all_series_exist_before_the_first_event() -> None:
    """A rate over a missing series has no value, while a rate over zeros is zero."""
    channel = Channel()
    before = {line.rsplit(" ", 1)[0] for line in series(channel.registry)}
    for each in SAMPLES:
        channel.telemetry(each)
    assert {line.rsplit(" ", 1)[0] for line in series(channel.registry)} == before
    assert len(before) <= 400


def test_a_url_check_is_counted_and_timed() -> None:
    assert Channel().changes(event(events.UrlChecked)) == {
        "callbacks_total verify accepted": 1,
        "callback_seconds_count": 1,
        "callback_seconds_sum": 0.25,
    }


@pytest.mark.parametrize("type_", get_args(events.MessageType))
def test_an_accepted_message_is_timed_and_sets_the_clock_skew(type_: str) -> None:
    assert Channel().changes(event(events.CallbackAnswered, type=type_)) == {
        "callbacks_total message accepted": 1,
        "callback_seconds_count": 1,
        "callback_seconds_sum": 0.25,
        "clock_skew_seconds": -7,
    }


@pytest.mark.parametrize(
    ("outcome", "further"), [("duplicate", {"dedup_hits_total": 1}), ("refused", {})], ids=["duplicate", "refused"]
)
def test_other_acknowledged_callbacks_are_timed_and_do_not_set_the_clock_skew(
    outcome: str, further: dict[str, float]
) -> None:
    assert Channel().changes(event(events.CallbackAnswered, outcome=outcome)) == {
        f"callbacks_total message {outcome}": 1,
        "callback_seconds_count": 1,
        "callback_seconds_sum": 0.25,
        **further,
    }


@pytest.mark.parametrize("kind", ["message", "event"])
@pytest.mark.parametrize("reason", get_args(errors.Unavailability))
def test_a_callback_answered_503_is_counted_and_not_timed(kind: str, reason: str) -> None:
    answered = event(events.CallbackAnswered, kind=kind, outcome=reason)
    assert Channel().changes(answered) == {f"callbacks_total {kind} {reason}": 1}


@pytest.mark.parametrize(
    ("type_", "counted"),
    [(each, each) for each in get_args(events.EventType)]
    + [("an event of next year", "other_event"), ("", "other_event")],
)
def test_an_event_is_counted_when_it_is_acknowledged(type_: str, counted: str) -> None:
    answered = event(events.CallbackAnswered, kind="event", type="event", event=type_)
    assert Channel().changes(answered)[f"inbound_messages_total {counted} acknowledged"] == 1


@pytest.mark.parametrize(("type_", "counted"), [("stream", "stream"), ("hologram", "unknown"), ("", "unknown")])
def test_an_unsupported_type_is_counted_when_it_is_acknowledged(type_: str, counted: str) -> None:
    answered = event(events.CallbackAnswered, type=type_)
    assert Channel().changes(answered)[f"inbound_messages_total {counted} unsupported"] == 1


def test_an_event_that_was_not_accepted_does_not_count_as_an_inbound_message() -> None:
    answered = event(events.CallbackAnswered, kind="event", type="event", event="enter_chat", outcome="duplicate")
    assert not [name for name in Channel().changes(answered) if name.startswith("inbound_messages")]


@pytest.mark.parametrize("reason", get_args(errors.Rejection))
@pytest.mark.parametrize("kind", ["verify", "message"])
def test_a_rejected_callback_is_counted_by_kind_and_reason(kind: str, reason: str) -> None:
    rejected = event(events.CallbackInvalid, kind=kind, reason=reason)
    assert Channel().changes(rejected) == {f"callbacks_total {kind} {reason}": 1}


@pytest.mark.parametrize("reason", get_args(errors.BodyRejection))
def test_a_body_that_was_not_received_counts_as_a_message(reason: str) -> None:
    rejected = event(events.RequestRejected, reason=reason)
    assert Channel().changes(rejected) == {f"callbacks_total message {reason}": 1}


@pytest.mark.parametrize("reason", get_args(errors.HttpRejection))
def test_a_request_that_never_became_a_callback_is_counted_by_reason(reason: str) -> None:
    rejected = event(events.RequestRejected, reason=reason)
    assert Channel().changes(rejected) == {f"requests_rejected_total {reason}": 1}


@pytest.mark.parametrize(
    ("emitted", "changes"),
    [
        (event(events.CallbackUnavailable), {"callbacks_total message inbox_full": 1}),
        (event(events.CallbackFailed), {"callbacks_total message error": 1}),
        (event(events.CallbackFailed, kind="verify"), {"callbacks_total verify error": 1}),
        (event(events.ConnectionDropped), {"connections_dropped_total slow": 1}),
        (event(events.MessageEnded), {"inbound_messages_total text published": 1}),
        (event(events.MessageEnded, type="voice", outcome="failed"), {"inbound_messages_total voice failed": 1}),
        (event(events.MessageGivenUp), {"messages_given_up_total": 1}),
        (
            event(events.MediaEnded),
            {"media_fetches_total opened": 1, "media_fetch_seconds_count": 1, "media_fetch_seconds_sum": 0.25},
        ),
        *(
            (event(events.StreamEnded, outcome=each), {f"streams_total {each}": 1})
            for each in get_args(errors.StreamOutcome)
        ),
        *(
            (
                event(events.RefreshAnswered, outcome=each),
                {
                    f"stream_refreshes_total {each}": 1,
                    "stream_refresh_seconds_count": 1,
                    "stream_refresh_seconds_sum": 0.25,
                },
            )
            for each in get_args(errors.RefreshOutcome)
        ),
        (event(events.ProgressIgnored), {"stream_progress_ignored_total": 1}),
        (event(events.FirstSignShown), {"first_sign_seconds_count": 1, "first_sign_seconds_sum": 0.25}),
        (event(events.AttemptStarted), {"reply_attempts_total": 1}),
        (event(events.AttemptStarted, repeated=True), {"reply_attempts_total": 1, "reply_repeats_total": 1}),
        (event(events.AttemptStarted, repeated=True, attempt=2), {"reply_attempts_total": 1}),
        (event(events.AttemptRetried), {"reply_retries_total busy": 1}),
        (
            event(events.ReplyEnded, seconds=1.5),
            {"replies_total delivered ok": 1, "answer_seconds_count": 1, "answer_seconds_sum": 1.5},
        ),
        (
            event(events.ReplyEnded, seconds=1.5, truncated_bytes=70),
            {
                "replies_total delivered ok": 1,
                "answer_seconds_count": 1,
                "answer_seconds_sum": 1.5,
                "reply_truncations_total": 1,
                "reply_truncated_bytes_total": 70,
            },
        ),
        (event(events.StateOperationEnded), {"state_seconds_count admit": 1, "state_seconds_sum admit": 0.25}),
        (
            event(events.StateOperationEnded, failure="state_full"),
            {
                "state_seconds_count admit": 1,
                "state_seconds_sum admit": 0.25,
                "state_failures_total admit state_full": 1,
            },
        ),
        (event(events.LoopLagged), {"loop_lag_seconds_count": 1, "loop_lag_seconds_sum": 0.25}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_event_changes_its_series_and_no_other(emitted: TelemetryEvent, changes: dict[str, float]) -> None:
    assert Channel().changes(emitted) == changes


@pytest.mark.parametrize("reason", get_args(errors.MediaFailure))
def test_a_media_item_without_a_download_is_counted_and_not_timed(reason: str) -> None:
    ended = event(events.MediaEnded, outcome=reason, seconds=None)
    assert Channel().changes(ended) == {f"media_fetches_total {reason}": 1}


@pytest.mark.parametrize(
    ("outcome", "reasons"),
    [
        ("undeliverable", errors.UndeliverableReason),
        ("refused", errors.RefusedReason),
        ("unknown", errors.UnknownReason),
    ],
)
def test_a_reply_that_was_not_delivered_is_counted_by_reason_and_not_timed(outcome: str, reasons: object) -> None:
    for reason in get_args(reasons):
        ended = event(events.ReplyEnded, outcome=outcome, reason=reason)
        assert Channel().changes(ended) == {f"replies_total {outcome} {reason}": 1}


@pytest.mark.parametrize("operation", get_args(events.StateOperation))
def test_each_operation_of_the_state_has_its_series(operation: str) -> None:
    """The label of `take_over` is `unfinished`, which was published before the operation was renamed."""
    label = {"take_over": "unfinished"}.get(operation, operation)
    ended = event(events.StateOperationEnded, operation=operation, failure="state")
    assert Channel().changes(ended) == {
        f"state_seconds_count {label}": 1,
        f"state_seconds_sum {label}": 0.25,
        f"state_failures_total {label} state": 1,
    }


def test_expired_windows_are_counted_once() -> None:
    """The event holds the total so far."""
    channel = Channel()
    for so_far in (2, 2, 5):
        channel.telemetry(events.WindowsExpired(so_far=so_far))
    assert channel.value("reply_windows_expired_total") == 5


def test_gauges_are_read_at_each_scrape() -> None:
    channel = Channel()
    messages = 3.0
    assert channel.value("inbox_messages") == 0
    channel.telemetry.watch(inbox_messages=lambda: messages, inbox_limit=lambda: 1_000)
    assert (channel.value("inbox_messages"), channel.value("inbox_limit")) == (3, 1_000)
    messages = 7.0
    assert channel.value("inbox_messages") == 7


def test_watching_an_unknown_gauge_raises() -> None:
    with pytest.raises(KeyError):
        Channel().telemetry.watch(inbox_mesages=lambda: 0.0)


def test_the_version_is_a_label_of_build_info() -> None:
    assert Channel().value("build_info", version="1.2.3") == 1


@pytest.mark.parametrize(
    ("name", "objectives"),
    [
        ("callback_seconds", ("1.0", "5.0")),
        ("answer_seconds", ("60.0", "3600.0")),
        ("first_sign_seconds", ("1.0",)),
    ],
)
def test_each_objective_is_a_bucket_bound(name: str, objectives: tuple[str, ...]) -> None:
    """The share of observations within an objective is then counted instead of interpolated."""
    channel = Channel()
    assert [channel.value(f"{name}_bucket", le=objective) for objective in objectives] == [0] * len(objectives)


def test_an_undeclared_label_value_adds_no_series_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A text from a client can never become a label value."""
    channel = Channel()
    assert channel.changes(event(events.CallbackInvalid, reason="whatever a caller sent")) == {}
    assert "wecom telemetry failed" in caplog.messages


def test_channels_share_a_registry_and_remove_their_series_on_close() -> None:
    registry = CollectorRegistry()
    for _ in range(3):
        first, second = Channel(registry, "wecom"), Channel(registry, "support")
        first.telemetry(event(events.AttemptRetried))
        assert (
            first.value("reply_retries_total", reason="busy"),
            second.value("reply_retries_total", reason="busy"),
        ) == (
            1,
            0,
        )
        first.telemetry.close()
        assert not [line for line in series(registry) if 'channel="wecom"' in line]
        assert [line for line in series(registry) if 'channel="support"' in line]
        second.telemetry.close()
        assert series(registry) == []
