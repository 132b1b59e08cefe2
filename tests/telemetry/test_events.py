"""The telemetry events."""

from __future__ import annotations

from typing import get_args

from maven_channel_wecom.protocol.callback import MESSAGE_TYPES
from maven_channel_wecom.telemetry import events
from tests.telemetry.samples import event


def test_the_message_types_are_those_of_the_protocol() -> None:
    """The telemetry package does not import the protocol, so it repeats the list."""
    assert get_args(events.MessageType) == MESSAGE_TYPES


def test_events_with_equal_fields_are_equal() -> None:
    assert event(events.MessageNormalized) == events.MessageNormalized(message_id="m1", blocks=2)
    assert event(events.MessageNormalized) != events.MessageNormalized(message_id="m1", blocks=3)
