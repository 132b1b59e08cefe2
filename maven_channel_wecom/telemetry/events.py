"""Telemetry events: one immutable value for each thing that happens on a channel.

Times are in seconds since the epoch, from the channel's clock. Ids are WeCom's; listeners replace those of people and
chats with pseudonyms before they show them. No event holds a URL, a secret or a user's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeVar

import msgspec

from maven_channel_wecom.errors import (
    BodyRejection,
    DropReason,
    ExplanationReason,
    FeedbackKind,
    FeedbackReason,
    HttpRejection,
    MediaFailure,
    RefreshOutcome,
    Refusal,
    Rejection,
    ReplyReason,
    StateFailure,
    StreamOutcome,
    Unavailability,
)

MessageType = Literal["text", "image", "mixed", "voice", "file", "video"]
EventType = Literal["enter_chat", "template_card_event", "feedback_event"]
"""The message types and event types that have their own metric series: those of `protocol.callback`."""

CallbackKind = Literal["verify", "message", "event"]
CallbackOutcome = Literal["accepted", "duplicate", "refused", Rejection, Unavailability]
MessageOutcome = Literal["published", "unsupported", "failed"]
StateOperation = Literal[
    "admit",
    "release",
    "finish",
    "take_over",
    "claim_window",
    "spend_window",
    "restore_window",
    "write_frame",
    "read_frame",
    "confirm_fetch",
    "is_fetched",
    "close_stream",
]


class TelemetryEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all events of a channel."""


class ListeningStarted(TelemetryEvent, frozen=True, kw_only=True):
    """The callback server started to listen."""

    port: int


class ChannelStopped(TelemetryEvent, frozen=True, kw_only=True):
    """A channel stopped and left `unfinished` messages in the state."""

    unfinished: int


class SettingObsolete(TelemetryEvent, frozen=True, kw_only=True):
    """The configuration of a channel contains a key that no longer has an effect."""

    key: str


class RequestRejected(TelemetryEvent, frozen=True, kw_only=True):
    """The callback server rejected a request, which therefore never became a callback."""

    reason: HttpRejection | BodyRejection
    status: int


class ConnectionDropped(TelemetryEvent, frozen=True, kw_only=True):
    """The callback server closed a connection because there were too many or because it was too slow."""

    reason: DropReason


class UrlChecked(TelemetryEvent, frozen=True, kw_only=True):
    """A URL check by WeCom's console was answered with its echo."""

    started_at: float
    answered_at: float


class CallbackAnswered(TelemetryEvent, frozen=True, kw_only=True):
    """A genuine callback was opened and answered.

    `type` is WeCom's `msgtype` and may be any text; `event` is WeCom's `eventtype`. `reason` is why it was refused.
    `skew_seconds` is the wall clock's time minus the timestamp signed by WeCom.
    """

    kind: CallbackKind
    outcome: CallbackOutcome
    message_id: str
    type: str
    chat_id: str
    sender_id: str
    started_at: float
    answered_at: float
    skew_seconds: float
    reason: Refusal | None = None
    event: str = ""
    event_details: Mapping[str, object] = {}


class CallbackInvalid(TelemetryEvent, frozen=True, kw_only=True):
    """A request to the callback path was not a valid callback of this bot. `detail` is a fixed sentence."""

    kind: CallbackKind
    reason: Rejection
    status: int
    detail: str


class CallbackUnavailable(TelemetryEvent, frozen=True, kw_only=True):
    """A request was answered 503 before its envelope was opened."""

    reason: Unavailability


class CallbackFailed(TelemetryEvent, frozen=True, kw_only=True):
    """An unexpected exception was raised for a request, which was answered 503. `error` is its class name."""

    kind: CallbackKind
    error: str


class MessageRecovered(TelemetryEvent, frozen=True, kw_only=True):
    """A message is processed again, after its processing failed or its process died."""

    message_id: str
    type: str


class MessagesRecovered(TelemetryEvent, frozen=True, kw_only=True):
    """Unfinished messages were taken over: `messages` were recovered, and `skipped` were finished instead."""

    messages: int
    skipped: int


class RecoveryFailed(TelemetryEvent, frozen=True, kw_only=True):
    """An unexpected exception was raised while messages were being recovered. `error` is its class name.

    An unavailable state does not cause this event; the StateOperationEnded of `take_over` reports it.
    """

    error: str


class MessageNormalized(TelemetryEvent, frozen=True, kw_only=True):
    """A message was normalized into content blocks."""

    message_id: str
    blocks: int


class MessagePublishing(TelemetryEvent, frozen=True, kw_only=True):
    """A message is about to be handed to the host."""

    message_id: str


class MessageEnded(TelemetryEvent, frozen=True, kw_only=True):
    """Work on a message ended. `type` is one of WeCom's message types; `reason` is why it failed.

    A failed message is processed again later, unless a MessageGivenUp follows.
    """

    message_id: str
    type: str
    outcome: MessageOutcome
    reason: str = ""


class MessageGivenUp(TelemetryEvent, frozen=True, kw_only=True):
    """The processing of a message failed, and its reply window ends before the next attempt."""

    message_id: str
    failures: int


class MessageNotRecorded(TelemetryEvent, frozen=True, kw_only=True):
    """The end of a message could not be recorded in the state."""

    message_id: str
    reason: str


class MessageLate(TelemetryEvent, frozen=True, kw_only=True):
    """The oldest message in progress is older than the objective for an answer."""

    message_id: str
    chat_id: str
    type: str
    seconds: float


class MediaEnded(TelemetryEvent, frozen=True, kw_only=True):
    """A media item became a content block. `seconds` is the duration of its download, None if there was none.

    `detail` says in words why it is unavailable; empty if `outcome` says it all. `only_id` is True if WeCom sent a
    `media_id` instead of a URL.
    """

    message_id: str
    kind: str
    outcome: Literal["opened", MediaFailure]
    detail: str = ""
    seconds: float | None = None
    only_id: bool = False


class MediaFailed(TelemetryEvent, frozen=True, kw_only=True):
    """An unexpected exception was raised for a media item. `error` is its class name."""

    message_id: str
    error: str


class PersonWelcomed(TelemetryEvent, frozen=True, kw_only=True):
    """A person entered the chat and was greeted in the answer to the callback."""

    message_id: str


class FeedbackReceived(TelemetryEvent, frozen=True, kw_only=True):
    """A person rated an answer. `feedback_id` is the one that the event names, which may be any text."""

    message_id: str
    feedback_id: str
    kind: FeedbackKind
    reasons: tuple[FeedbackReason, ...]


class EventHookFailed(TelemetryEvent, frozen=True, kw_only=True):
    """An implementation of `maven_inbound_event` raised. `error` is the class name of the exception."""

    message_id: str
    error: str


class PersonExplained(TelemetryEvent, frozen=True, kw_only=True):
    """A person is sent a sentence of the channel in place of an answer; how that ends is reported by other events."""

    message_id: str
    reason: ExplanationReason


class StreamEnded(TelemetryEvent, frozen=True, kw_only=True):
    """The stream that an acknowledgement opened ended; no refresh gets more of it from now on."""

    message_id: str
    outcome: StreamOutcome


class RefreshAnswered(TelemetryEvent, frozen=True, kw_only=True):
    """A refresh callback, with which WeCom asks for the newest text of a stream, was answered."""

    outcome: RefreshOutcome
    started_at: float
    answered_at: float


class FirstSignShown(TelemetryEvent, frozen=True, kw_only=True):
    """The sender of a message can see the first reaction to it: a frame of its stream, or its answer.

    A frame without text counts, because WeCom's client shows moving dots for it. `seconds` is the time since the
    message's callback arrived.
    """

    message_id: str
    seconds: float


class ProgressIgnored(TelemetryEvent, frozen=True, kw_only=True):
    """The host pushed progress for a message that has no open stream. `message_id` is the host's, and may be any."""

    message_id: str


class WindowClaimed(TelemetryEvent, frozen=True, kw_only=True):
    """A reply claimed the window of the message that it answers."""

    message_id: str


class AttemptStarted(TelemetryEvent, frozen=True, kw_only=True):
    """A reply is about to be POSTed. `repeated`: an earlier attempt through its window may have arrived."""

    message_id: str
    attempt: int
    repeated: bool


class AttemptEnded(TelemetryEvent, frozen=True, kw_only=True):
    """One POST of a reply ended.

    `errcode` and `meaning` are WeCom's error, if it returned one; `failure` and `detail` are why there was no answer.
    """

    message_id: str
    attempt: int
    outcome: str
    errcode: int | None = None
    meaning: str = ""
    failure: str = ""
    detail: str = ""


class AttemptRetried(TelemetryEvent, frozen=True, kw_only=True):
    """A reply will be retried; `attempt` is the number of the attempt that failed."""

    message_id: str
    attempt: int
    reason: ReplyReason


class ReplyEnded(TelemetryEvent, frozen=True, kw_only=True):
    """A reply has its receipt, or was cancelled after it may have been sent.

    `seconds` is the time from the arrival of the message to the end of the last attempt, None if no window was claimed.
    """

    message_id: str | None
    chat_id: str
    outcome: str
    reason: str
    attempts: int
    truncated_bytes: int
    seconds: float | None


class ReplyNotRecorded(TelemetryEvent, frozen=True, kw_only=True):
    """The state could not record that a reply window was spent or restored."""

    message_id: str
    reason: StateFailure


class StateOperationEnded(TelemetryEvent, frozen=True, kw_only=True):
    """An operation of the state ended. `failure` is None if it succeeded or its caller was cancelled.

    An admission whose caller was cancelled counts as failed, because it exceeded its time limit.
    """

    operation: StateOperation
    seconds: float
    failure: StateFailure | None = None


class StateChanged(TelemetryEvent, frozen=True, kw_only=True):
    """The state became unavailable (`problem` is a sentence that says why) or available again (`problem` is None)."""

    problem: str | None


class LoopLagged(TelemetryEvent, frozen=True, kw_only=True):
    """The event loop resumed the measuring task `seconds` late. Measured about once a second."""

    seconds: float


class WindowsExpired(TelemetryEvent, frozen=True, kw_only=True):
    """The number of reply windows that this process has seen expire unspent since the state was opened."""

    so_far: int


Emit = Callable[[TelemetryEvent], None]
"""A function that reports one event. It neither raises nor blocks."""

_E = TypeVar("_E", bound=TelemetryEvent)


class Listen(Protocol):
    """A function that registers a listener for one class of events. Listeners are called in order of registration."""

    def __call__(self, kind: type[_E], listener: Callable[[_E], object]) -> None: ...
