"""What happened, one frozen value for each edge of the flow. Nobody here counts, logs or traces.

Times are in seconds since the epoch, as the channel's clock tells them. Ids are WeCom's: whoever shows one to people
makes a pseudonym of it first. No value holds a URL, a secret or what a user wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeVar

import msgspec

from maven_channel_wecom.errors import (
    BodyRejection,
    DropReason,
    HttpRejection,
    MediaFailure,
    Refusal,
    Rejection,
    ReplyReason,
    StateFailure,
    Unavailability,
)

MessageType = Literal["text", "image", "mixed", "voice", "file", "video"]
EventType = Literal["enter_chat", "template_card_event", "feedback_event"]
"""The message types and event types that have a series of their own: those of `protocol.callback`."""

CallbackKind = Literal["verify", "message", "event"]
CallbackOutcome = Literal["accepted", "duplicate", "refused", Rejection, Unavailability]
MessageOutcome = Literal["published", "unsupported", "failed", "acknowledged"]
StateOperation = Literal["admit", "release", "finish", "take_over", "claim_window", "spend_window", "restore_window"]


class TelemetryEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened on one channel."""


class ListeningStarted(TelemetryEvent, frozen=True, kw_only=True):
    """The callback port listens."""

    port: int


class ChannelStopped(TelemetryEvent, frozen=True, kw_only=True):
    """A channel stopped; `unfinished` messages stay in the state."""

    unfinished: int


class SettingObsolete(TelemetryEvent, frozen=True, kw_only=True):
    """The configuration of a channel holds a key that has no effect any more."""

    key: str


class RequestRejected(TelemetryEvent, frozen=True, kw_only=True):
    """The server answered a request by itself: it never became a callback."""

    reason: HttpRejection | BodyRejection
    status: int


class ConnectionDropped(TelemetryEvent, frozen=True, kw_only=True):
    """The server closed a connection on the callback port."""

    reason: DropReason


class UrlChecked(TelemetryEvent, frozen=True, kw_only=True):
    """The console checked the URL, and its echo was returned."""

    started_at: float
    answered_at: float


class CallbackAnswered(TelemetryEvent, frozen=True, kw_only=True):
    """A genuine callback was opened and answered.

    `type` is WeCom's `msgtype`, whatever it is; `event` WeCom's `eventtype`. `reason` says why it was refused.
    `skew_seconds` is the wall clock's time minus the timestamp WeCom signed.
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
    """A request to the callback path is no callback of ours. `detail` is a sentence of ours."""

    kind: CallbackKind
    reason: Rejection
    status: int
    detail: str


class CallbackUnavailable(TelemetryEvent, frozen=True, kw_only=True):
    """A request was answered 503 before anything was opened."""

    reason: Unavailability


class CallbackFailed(TelemetryEvent, frozen=True, kw_only=True):
    """A bug of ours met a request; `error` is the name of the exception's class. Answered 503."""

    kind: CallbackKind
    error: str


class MessageRecovered(TelemetryEvent, frozen=True, kw_only=True):
    """A message of a process that died is worked on again."""

    message_id: str
    type: str


class MessagesRecovered(TelemetryEvent, frozen=True, kw_only=True):
    """One look for unfinished messages: `messages` are worked on again, `over` could not be answered any more."""

    messages: int
    over: int


class RecoveryFailed(TelemetryEvent, frozen=True, kw_only=True):
    """A bug of ours met a look for unfinished messages; `error` is the name of the exception's class.

    A state that is away is no bug, and needs none of these: the StateStepEnded of `take_over` says it.
    """

    error: str


class MessageNormalized(TelemetryEvent, frozen=True, kw_only=True):
    """A message was put together."""

    message_id: str
    blocks: int


class MessagePublishing(TelemetryEvent, frozen=True, kw_only=True):
    """A message is about to be handed to the host."""

    message_id: str


class MessageEnded(TelemetryEvent, frozen=True, kw_only=True):
    """A message left the inbox. `type` is one of WeCom's message types; `reason` says why it failed."""

    message_id: str
    type: str
    outcome: Literal["published", "unsupported", "failed"]
    reason: str = ""


class MessageNotRecorded(TelemetryEvent, frozen=True, kw_only=True):
    """The end of a message could not be recorded in the state."""

    message_id: str
    reason: str


class MessageLate(TelemetryEvent, frozen=True, kw_only=True):
    """The oldest message in progress is later than the objective for an answer."""

    message_id: str
    chat_id: str
    type: str
    seconds: float


class MediaEnded(TelemetryEvent, frozen=True, kw_only=True):
    """A media item became a content block. `seconds` is how long its download took, None when there was none.

    `only_id` is True when WeCom sent a `media_id` in place of a URL.
    """

    message_id: str
    kind: str
    outcome: Literal["opened", MediaFailure]
    seconds: float | None = None
    only_id: bool = False


class MediaFailed(TelemetryEvent, frozen=True, kw_only=True):
    """A bug of ours met a media item; `error` is the name of the exception's class."""

    message_id: str
    error: str


class WindowClaimed(TelemetryEvent, frozen=True, kw_only=True):
    """A reply has the window it goes out through."""

    message_id: str


class AttemptStarted(TelemetryEvent, frozen=True, kw_only=True):
    """A reply is about to be POSTed. `repeated`: a process that died may have sent it already."""

    message_id: str
    attempt: int
    repeated: bool


class AttemptEnded(TelemetryEvent, frozen=True, kw_only=True):
    """One POST of a reply ended.

    `errcode` and `meaning` are WeCom's verdict unless it is success; `failure` and `detail` say why there was none.
    """

    message_id: str
    attempt: int
    outcome: str
    errcode: int | None = None
    meaning: str = ""
    failure: str = ""
    detail: str = ""


class AttemptRetried(TelemetryEvent, frozen=True, kw_only=True):
    """A reply is to be POSTed again; `attempt` is the one that failed."""

    message_id: str
    attempt: int
    reason: ReplyReason


class ReplyEnded(TelemetryEvent, frozen=True, kw_only=True):
    """A reply has its receipt. `seconds` since the message came in, None when no window was claimed."""

    message_id: str | None
    chat_id: str
    outcome: str
    reason: str
    attempts: int
    truncated_bytes: int
    seconds: float | None


class ReplyNotRecorded(TelemetryEvent, frozen=True, kw_only=True):
    """What became of a reply window could not be recorded in the state."""

    message_id: str
    reason: StateFailure


class StateStepEnded(TelemetryEvent, frozen=True, kw_only=True):
    """One step of the state ended; `failure` is None when it succeeded, or its caller was cancelled.

    An admission whose caller was cancelled failed: its time was over.
    """

    operation: StateOperation
    seconds: float
    failure: StateFailure | None = None


class StateChanged(TelemetryEvent, frozen=True, kw_only=True):
    """The state went away, with a sentence that says why, or came back, with None."""

    trouble: str | None


class LoopLagged(TelemetryEvent, frozen=True, kw_only=True):
    """The event loop woke a task this many seconds late; measured about once a second."""

    seconds: float


class WindowsExpired(TelemetryEvent, frozen=True, kw_only=True):
    """How many reply windows this process has seen expire unspent since the state was opened."""

    so_far: int


Emit = Callable[[TelemetryEvent], None]
"""Reports one event. Never raises, never waits."""

_E = TypeVar("_E", bound=TelemetryEvent)


class Listen(Protocol):
    """Has a listener called with each event of one class, after the listeners that came before it."""

    def __call__(self, kind: type[_E], listener: Callable[[_E], object]) -> None: ...
