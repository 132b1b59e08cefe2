"""Passing events to listeners."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.events import TelemetryEvent
from maven_channel_wecom.telemetry.telemetry import Telemetry
from tests.telemetry.samples import SAMPLES, event


def open_telemetry() -> Telemetry:
    return Telemetry(CollectorRegistry(), "wecom", now=lambda: 1_000.0, version="0")


def test_there_is_a_sample_of_every_event() -> None:
    """The tests of this folder use the samples to cover all events."""
    missing = set(TelemetryEvent.__subclasses__()) - {type(sample) for sample in SAMPLES}
    assert not missing, f"add a sample of each to tests/telemetry/samples.py: {[kind.__name__ for kind in missing]}"


@pytest.mark.parametrize("kind", [type(sample) for sample in SAMPLES], ids=lambda kind: kind.__name__)
def test_every_event_can_be_reported(kind: type[TelemetryEvent], caplog: pytest.LogCaptureFixture) -> None:
    open_telemetry()(event(kind))
    assert "wecom telemetry failed" not in caplog.messages


def test_listeners_are_called_in_order_with_the_events_of_their_class() -> None:
    telemetry = open_telemetry()
    calls: list[tuple[str, TelemetryEvent]] = []
    telemetry.listen(events.LoopLagged, lambda event: calls.append(("first", event)))
    telemetry.listen(events.LoopLagged, lambda event: calls.append(("second", event)))
    telemetry.listen(events.WindowsExpired, lambda event: calls.append(("other", event)))
    lagged = event(events.LoopLagged)
    telemetry(lagged)
    assert calls == [("first", lagged), ("second", lagged)]


def test_a_listener_that_raises_does_not_affect_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged once for each class of events, without the text of the exception."""
    telemetry = open_telemetry()
    received: list[TelemetryEvent] = []

    def fail(_event: TelemetryEvent) -> None:
        message = "canary"
        raise ValueError(message)

    for kind in (events.LoopLagged, events.WindowClaimed):
        telemetry.listen(kind, fail)
        telemetry.listen(kind, received.append)
    for _ in range(3):
        telemetry(event(events.LoopLagged))
        telemetry(event(events.WindowClaimed))
    assert len(received) == 6
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.__dict__["fields"] for record in failures] == [
        {"channel": "wecom", "event": kind, "error": "ValueError"} for kind in ("LoopLagged", "WindowClaimed")
    ]
