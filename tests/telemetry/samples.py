"""One sample event of each class, and a function that returns changed copies."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from maven_channel_wecom.telemetry import events

_E = TypeVar("_E", bound=events.TelemetryEvent)

USER, CHAT = "alice-canary", "group-canary"

SAMPLES: tuple[events.TelemetryEvent, ...] = (
    events.ListeningStarted(port=9886),
    events.ChannelStopped(unfinished=2),
    events.SettingObsolete(key="shortPath"),
    events.RequestRejected(reason="tls", status=400),
    events.ConnectionDropped(reason="slow"),
    events.UrlChecked(started_at=1_000.0, answered_at=1_000.25),
    events.CallbackAnswered(
        kind="message",
        outcome="accepted",
        message_id="m1",
        type="text",
        chat_id=CHAT,
        sender_id=USER,
        started_at=1_000.0,
        answered_at=1_000.25,
        skew_seconds=-7.0,
    ),
    events.CallbackInvalid(kind="message", reason="signature", status=401, detail="the signature is wrong"),
    events.CallbackUnavailable(reason="inbox_full"),
    events.CallbackFailed(kind="message", error="ValueError"),
    events.MessageRecovered(message_id="m1", type="text"),
    events.MessagesRecovered(messages=3, skipped=1),
    events.RecoveryFailed(error="ValueError"),
    events.MessageNormalized(message_id="m1", blocks=2),
    events.MessagePublishing(message_id="m1"),
    events.MessageEnded(message_id="m1", type="text", outcome="published"),
    events.MessageGivenUp(message_id="m1", failures=12),
    events.MessageNotRecorded(message_id="m1", reason="state"),
    events.MessageLate(message_id="m1", chat_id=CHAT, type="text", seconds=61.4),
    events.MediaEnded(message_id="m1", kind="image", outcome="opened", seconds=0.25),
    events.MediaFailed(message_id="m1", error="ValueError"),
    events.PersonWelcomed(message_id="m1"),
    events.FeedbackReceived(message_id="m1", feedback_id="0123456789ab", kind="inaccurate", reasons=("wrong", "other")),
    events.EventHookFailed(message_id="m1", error="ValueError"),
    events.PersonExplained(message_id="m1", reason="empty_answer"),
    events.StreamEnded(message_id="m1", outcome="fetched"),
    events.RefreshAnswered(outcome="answered", started_at=1_000.0, answered_at=1_000.25),
    events.FirstSignShown(message_id="m1", seconds=0.25),
    events.ProgressIgnored(message_id="m1"),
    events.WindowClaimed(message_id="m1"),
    events.AttemptStarted(message_id="m1", attempt=1, repeated=False),
    events.AttemptEnded(message_id="m1", attempt=1, outcome="delivered"),
    events.AttemptRetried(message_id="m1", attempt=1, reason="busy"),
    events.ReplyEnded(
        message_id="m1",
        chat_id=CHAT,
        outcome="delivered",
        reason="",
        attempts=1,
        truncated_bytes=0,
        seconds=1.23456,
    ),
    events.ReplyNotRecorded(message_id="m1", reason="state"),
    events.StateOperationEnded(operation="admit", seconds=0.25),
    events.StateChanged(problem="the disk is full"),
    events.LoopLagged(seconds=0.25),
    events.WindowsExpired(so_far=2),
)


def event(kind: type[_E], /, **changes: Any) -> _E:  # noqa: ANN401 - the fields of any event
    """Return a copy of the sample of a class of events, with some fields changed."""
    (sample,) = (each for each in SAMPLES if isinstance(each, kind))
    return msgspec.structs.replace(sample, **changes)
