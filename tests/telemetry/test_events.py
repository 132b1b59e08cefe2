"""The values that the flow emits."""

from __future__ import annotations

from typing import get_args

from maven_channel_wecom.protocol.callback import EVENT_TYPES, MESSAGE_TYPES
from maven_channel_wecom.telemetry import events
from tests.telemetry.samples import event


def test_the_types_with_a_series_of_their_own_are_those_of_the_protocol() -> None:
    """Telemetry does not import the protocol, so the two lists are compared here."""
    assert get_args(events.MessageType) == MESSAGE_TYPES
    assert get_args(events.EventType) == EVENT_TYPES


def test_events_with_the_same_facts_are_equal() -> None:
    """So a test can say what it expects to be emitted."""
    assert event(events.MessageNormalized) == events.MessageNormalized(message_id="m1", blocks=2)
    assert event(events.MessageNormalized) != events.MessageNormalized(message_id="m1", blocks=3)
