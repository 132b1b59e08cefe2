"""Handling of callbacks, from the HTTP request to the acknowledgement.

Callbacks are opened, admitted to the state, put into the inbox and then acknowledged. Those that arrive in one loop
iteration or while the state is busy form a batch, which one operation of the state admits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import (
    CallbackRejected,
    StaleCallback,
    StateUnavailable,
    UndecipherableEnvelope,
    WrongReceiver,
)
from maven_channel_wecom.passive_replies import SUCCESS
from maven_channel_wecom.policy import admission
from maven_channel_wecom.policy.reply_window import open_window
from maven_channel_wecom.protocol import envelope, limits
from maven_channel_wecom.protocol.callback import EVENT, MESSAGE_TYPES, REFRESH, is_message, read_callback
from maven_channel_wecom.server.messages import RETRY_LATER, Answer, error_answer
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.errors import Refusal, Unavailability
    from maven_channel_wecom.inbox import Inbox
    from maven_channel_wecom.passive_replies import PassiveReplies, PassiveReply
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.protocol.envelope import OpenedEnvelope, SignedQuery
    from maven_channel_wecom.refusals import Refusals
    from maven_channel_wecom.server.messages import Request
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.streams import StreamReply, Streams
    from maven_channel_wecom.telemetry.events import CallbackKind, CallbackOutcome, Emit

ADMIT_SECONDS: Final = 3.0
"""Maximum time from the arrival of a callback to its answer, in seconds. WeCom waits five. Lower: a slow disk causes
503s."""

BATCH_CALLBACKS: Final = 64
"""Maximum number of callbacks opened in one loop iteration (about two milliseconds) and admitted in one batch. Lower:
fewer callbacks share a commit. Higher: everything else on the event loop waits longer."""

BATCH_BYTES: Final = 256 * 1024
"""Total size of request bodies after which a loop iteration opens no further callback. Opening a body of 1 MiB takes
about ten milliseconds, even if it is forged."""

_ACKNOWLEDGED_OUTCOMES: Final = frozenset({"accepted", "duplicate", "refused"})

_ADMITTED_TYPES: Final = frozenset({*MESSAGE_TYPES, EVENT})


class _OpenedCallback(msgspec.Struct, frozen=True, gc=False):
    """A genuine callback that is opened and not yet answered. `started_at` is when its request arrived."""

    request: Request
    started_at: float
    signed: SignedQuery
    envelope: OpenedEnvelope
    callback: Callback

    @property
    def kind(self) -> CallbackKind:
        return "event" if self.callback.type == EVENT else "message"


class Inbound:
    """Answers the requests that the callback server of one channel receives.

    Args:
        config: the settings of the channel.
        state: admits messages.
        inbox: processes admitted messages.
        streams: holds the streams that WeCom asks about.
        replies: chooses what acknowledgements show.
        refusals: tells people that they are refused.
        emit: receives telemetry events.
        clock: the clock of the channel.
        random: returns the given number of cryptographically random bytes.
    """

    def __init__(
        self,
        config: WeComConfig,
        *,
        state: StateStore,
        inbox: Inbox,
        streams: Streams,
        replies: PassiveReplies,
        refusals: Refusals,
        emit: Emit,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._state = state
        self._inbox = inbox
        self._streams = streams
        self._replies = replies
        self._refusals = refusals
        self._emit = emit
        self._clock = clock
        self._random = random
        self.last_signed_at = 0.0
        """Wall-clock time of the last callback with a valid signature, 0 before the first."""
        self._loop = asyncio.get_running_loop()
        self._draining = False
        # Requests to be opened, each with its time of arrival.
        self._received: deque[tuple[Request, float]] = deque()
        # Callbacks to be admitted.
        self._opened: list[_OpenedCallback] = []
        self._admitting: asyncio.Task[None] | None = None
        # Callbacks that are answered once the state has been read.
        self._reading: set[asyncio.Task[None]] = set()

    @property
    def draining(self) -> bool:
        """Whether the channel is draining and refuses new callbacks."""
        return self._draining

    def drain(self) -> None:
        """Answer every callback with 503 from now on, so that WeCom tries again later or elsewhere."""
        self._draining = True

    def check_head(self, method: str, query: bytes) -> Answer | None:  # noqa: ARG002 - the server passes it
        """Return the answer that refuses a callback before its body is received, None if it may be admitted."""
        # A refresh, which only its body tells, is answered as long as the channel listens.
        if method == "POST" and not self._replies.uses_streams and (reason := self._unavailable_reason()):
            return self._unavailable_answer(reason)
        return None

    def receive(self, request: Request) -> None:
        """Answer a request: a URL check immediately, a callback together with its batch."""
        if request.method == "GET":
            request.answer(self._check_url(request.query))
            return
        if not self._received:
            # Callbacks that arrive later in this loop iteration join the batch.
            self._loop.call_soon(self._open_received)
        self._received.append((request, self._clock.now()))

    def _open_received(self) -> None:
        """Open a batch of received callbacks, and answer those that need no state even while the state hangs."""
        batch: list[tuple[Request, float]] = []
        batch_bytes = 0
        while self._received and len(batch) < BATCH_CALLBACKS and batch_bytes < BATCH_BYTES:
            batch.append(self._received.popleft())
            batch_bytes += len(batch[-1][0].body)
        if self._received:
            self._loop.call_soon(self._open_received)
        self._opened += [opened for request in batch if (opened := self._open(*request))]
        if self._opened and self._admitting is None:
            self._admitting = self._loop.create_task(self._admit_opened(), name="wecom callbacks")

    async def _admit_opened(self) -> None:
        try:
            while self._opened:
                batch = self._opened[:BATCH_CALLBACKS]
                del self._opened[:BATCH_CALLBACKS]
                await self._admit(batch)
                if self._opened:
                    await asyncio.sleep(0)
        finally:
            self._admitting = None

    async def _admit(self, batch: Sequence[_OpenedCallback]) -> None:
        """Admit a batch and answer it, with 503 for every callback if the state fails or hangs."""
        now = self._clock.now()
        outcomes: Sequence[CallbackOutcome]
        try:
            async with asyncio.timeout(batch[0].started_at + ADMIT_SECONDS - now):
                new = await self._state.admit([self._admission(opened, now) for opened in batch], now)
            outcomes = ["accepted" if is_new else "duplicate" for is_new in new]
        except StateUnavailable as unavailable:
            outcomes = [unavailable.reason] * len(batch)
        except TimeoutError:
            # Callbacks stored nevertheless have no owner and are recovered, like those of a process that died.
            outcomes = ["state"] * len(batch)
        except Exception as error:  # noqa: BLE001 - a bug must not leave requests without an answer
            for opened in batch:
                self._inbox.release_place(opened.callback)
                opened.request.answer(self._answer_to_error(opened.kind, error, opened=True))
            return
        self._answer_batch(batch, outcomes, now)

    def _answer_batch(self, batch: Sequence[_OpenedCallback], outcomes: Sequence[CallbackOutcome], now: float) -> None:
        for opened, outcome in zip(batch, outcomes, strict=True):
            # Before answers are made: a message that is stored must be processed even if its answer fails.
            if outcome == "accepted":
                self._process(opened, now)
            else:
                self._inbox.release_place(opened.callback)
        answered = []
        for opened, outcome in zip(batch, outcomes, strict=True):
            if outcome == "duplicate" and self._streams.may_be_elsewhere(opened.callback):
                self._start_reading(self._repeat_from_state(opened), opened)
            else:
                answered.append((opened, outcome, *self._answer_to_outcome(opened, outcome)))
        # Answers are written back to back, because each socket write leaves cold caches for the code after it.
        for opened, _, reply, answer in answered:
            _send(opened.request, answer, reply)
        for opened, outcome, reply, _ in answered:
            self._emit_answered(opened, outcome, reply=reply)

    def _process(self, opened: _OpenedCallback, now: float) -> None:
        """Begin to process an admitted message, whose stream must be open before its agent can answer."""
        self._streams.open(opened.callback, opened.started_at)
        is_explained = self._replies.explains(opened.callback)
        self._inbox.put(opened.callback, now, held=True, is_explained=is_explained)

    def _open(self, request: Request, started_at: float) -> _OpenedCallback | None:
        """Open a callback and hold a place in the inbox for it. Return None if it is answered already."""
        opened_envelope = None
        try:
            unavailable = self._unavailable_reason()
            if unavailable and not self._replies.uses_streams:
                request.answer(self._unavailable_answer(unavailable))
                return None
            signed = envelope.read_query(envelope.parse_query(request.query))
            opened_envelope = self._open_envelope(signed, envelope.read_body(request.body))
            self.last_signed_at = self._clock.wall()
            opened = _OpenedCallback(
                request, started_at, signed, opened_envelope, read_callback(opened_envelope.message)
            )
            if opened.callback.type == REFRESH and self._replies.uses_streams:
                self._refresh(opened)
                return None
            if unavailable:
                request.answer(self._unavailable_answer(unavailable, opened=True))
                return None
            return opened if self._holds_place(opened) else None
        except Exception as error:  # noqa: BLE001 - a bug must not leave the request without an answer
            if isinstance(error, UndecipherableEnvelope | WrongReceiver | StaleCallback):
                # These errors are raised only once the signature was found to be valid.
                self.last_signed_at = self._clock.wall()
            # A stale callback may be one that was recorded, so it does not verify the connection.
            is_opened = opened_envelope is not None or isinstance(error, WrongReceiver)
            request.answer(self._answer_to_error("message", error, opened=is_opened))
            return None

    def _holds_place(self, opened: _OpenedCallback) -> bool:
        """Return whether a place in the inbox is held for a callback. If not, it is answered."""
        if refusal := admission.refusal(opened.callback, self._config.rules):
            self._refuse(opened, refusal)
        elif not _is_admissible(opened.callback):
            # An unknown type without a URL to answer it, or a refresh if nothing is streamed.
            opened.request.answer(self._try_seal(opened, SUCCESS))
            self._emit_answered(opened, "accepted")
        elif not self._inbox.hold_place(opened.callback):
            opened.request.answer(RETRY_LATER)
            self._emit_answered(opened, "chat_full")
        else:
            return True
        return False

    def _refuse(self, opened: _OpenedCallback, refusal: Refusal) -> None:
        """Acknowledge a callback that is refused, and tell its sender why: in the acknowledgement if it can show it."""
        shows = self._replies.uses_streams
        explained = self._refusals.explanation(opened.callback, refusal, again=shows)
        reply = self._replies.sentence(opened.callback, explained) if explained and shows else SUCCESS
        opened.request.answer(self._try_seal(opened, reply))
        self._emit_answered(opened, "refused", refusal=refusal)
        if explained and not shows:
            self._refusals.send(opened.callback, explained)

    def _refresh(self, opened: _OpenedCallback) -> None:
        """Answer a refresh from memory, or once the state was read if another process may have opened its stream."""
        if frame := self._streams.refresh(opened.callback, int(opened.signed.timestamp)):
            self._answer_refresh(opened, frame)
        else:
            self._start_reading(self._refresh_from_state(opened), opened)

    def _answer_refresh(self, opened: _OpenedCallback, frame: StreamReply) -> None:
        _send(opened.request, self._seal(opened, frame.body), frame)
        self._emit(
            events.RefreshAnswered(outcome=frame.outcome, started_at=opened.started_at, answered_at=self._clock.now())
        )

    async def _refresh_from_state(self, opened: _OpenedCallback) -> None:
        self._answer_refresh(opened, await self._streams.refresh_from_state(opened.callback))

    async def _repeat_from_state(self, opened: _OpenedCallback) -> None:
        """Answer a repeated callback with the newest frame of its stream, if another process has opened one."""
        frame = await self._streams.first_frame_from_state(opened.callback)
        _send(opened.request, self._seal(opened, frame.body if frame else SUCCESS.body), frame)
        self._emit_answered(opened, "duplicate")

    def _start_reading(self, reading: Coroutine[None, None, None], opened: _OpenedCallback) -> None:
        task = asyncio.create_task(self._read_in_time(reading, opened), name="wecom stream of another process")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read_in_time(self, reading: Coroutine[None, None, None], opened: _OpenedCallback) -> None:
        """Answer with what the state holds, or with 503 if it is away: a guess could end a stream that is open."""
        try:
            async with asyncio.timeout(opened.started_at + ADMIT_SECONDS - self._clock.now()):
                await reading
        except (StateUnavailable, TimeoutError):
            opened.request.answer(self._unavailable_answer("state", opened=True))
        except Exception as error:  # noqa: BLE001 - a bug must not leave the request without an answer
            opened.request.answer(self._answer_to_error(opened.kind, error, opened=True))

    def _open_envelope(self, signed: SignedQuery, ciphertext: str) -> OpenedEnvelope:
        opened = envelope.open_envelope(
            self._config.credentials, signed, ciphertext, receive_id=self._config.receive_id
        )
        skew = self._config.max_skew_seconds
        if skew and abs(self._clock.wall() - int(signed.timestamp)) > skew:
            raise StaleCallback
        return opened

    def _answer_to_outcome(self, opened: _OpenedCallback, outcome: CallbackOutcome) -> tuple[PassiveReply, Answer]:
        """Return the reply to a callback and the answer that carries it, or that asks WeCom to send it again."""
        if outcome not in _ACKNOWLEDGED_OUTCOMES:
            return SUCCESS, RETRY_LATER
        try:
            choose = self._replies.to_event if opened.callback.type == EVENT else self._replies.to_message
            reply = choose(opened.callback)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the rest of the batch without an answer
            return SUCCESS, self._answer_to_error(opened.kind, error, opened=True)
        return reply, self._try_seal(opened, reply)

    def _try_seal(self, opened: _OpenedCallback, reply: PassiveReply) -> Answer:
        """Return the answer that carries a reply, or 503 if it cannot be sealed."""
        try:
            return self._seal(opened, reply.body)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the rest of the batch without an answer
            return self._answer_to_error(opened.kind, error, opened=True)

    def _seal(self, opened: _OpenedCallback, body: bytes) -> Answer:
        sealed = envelope.seal(
            opened.envelope.credentials,
            body,
            receive_id=opened.envelope.receive_id,
            timestamp=int(self._clock.wall()),
            nonce=opened.signed.nonce,
            random=self._random(limits.FRAME_RANDOM_BYTES),
        )
        return Answer(status=200, body=msgspec.json.encode(sealed), content_type="application/json", verifies=True)

    def _emit_answered(
        self,
        opened: _OpenedCallback,
        outcome: CallbackOutcome,
        *,
        refusal: Refusal | None = None,
        reply: PassiveReply = SUCCESS,
    ) -> None:
        callback, event = opened.callback, opened.callback.event
        if outcome == "accepted" and reply.reported:
            self._emit(reply.reported)
        if outcome == "accepted" and reply.is_visible and event is None:
            seconds = self._clock.now() - opened.started_at
            self._emit(events.FirstSignShown(message_id=callback.message_id, seconds=seconds))
        if outcome == "accepted" and event and (rating := event.rating):
            self._emit(
                events.FeedbackReceived(
                    message_id=callback.message_id,
                    feedback_id=rating.id,
                    kind=rating.kind,
                    reasons=rating.reasons,
                )
            )
        self._emit(
            events.CallbackAnswered(
                kind=opened.kind,
                outcome=outcome,
                message_id=callback.message_id,
                type=callback.type,
                chat_id=callback.chat_id,
                sender_id=callback.sender_id,
                started_at=opened.started_at,
                answered_at=self._clock.now(),
                skew_seconds=self._clock.wall() - int(opened.signed.timestamp),
                reason=refusal,
                event=event.type if event else "",
                event_details=event.details if event else {},
            )
        )

    def _check_url(self, query: bytes) -> Answer:
        """Answer the console's URL check with the bare plaintext, without quotes or a newline (page 101033)."""
        started_at = self._clock.now()
        try:
            parameters = envelope.parse_query(query)
            opened = self._open_envelope(envelope.read_query(parameters), envelope.read_echo(parameters))
            envelope.check_echo(opened)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the request without an answer
            return self._answer_to_error("verify", error)
        self._emit(events.UrlChecked(started_at=started_at, answered_at=self._clock.now()))
        # Anyone who reads an access log can replay an echo, so it does not verify the connection.
        return Answer(status=200, body=opened.message)

    def _admission(self, opened: _OpenedCallback, now: float) -> Admission:
        callback = opened.callback
        stored = StoredCallback(callback.message_id, now, opened.envelope.message)
        opened_id = self._streams.id_to_open(callback)
        text = self._streams.first_text(callback) if opened_id else ""
        return Admission(stored, open_window(callback, now), opened_id, text)

    def _unavailable_reason(self) -> Unavailability | None:
        if self._draining:
            return "draining"
        return "inbox_full" if self._inbox.is_full else None

    def _unavailable_answer(self, reason: Unavailability, *, opened: bool = False) -> Answer:
        self._emit(events.CallbackUnavailable(reason=reason))
        return RETRY_LATER if opened else error_answer(503)

    def _answer_to_error(self, kind: CallbackKind, error: Exception, *, opened: bool = False) -> Answer:
        """Return the answer to a callback that is rejected. If the error is a bug it is 503, so that WeCom retries.

        `opened`: whether the envelope of a callback opened. Then the callback is genuine, whatever it contains.
        """
        if isinstance(error, CallbackRejected):
            self._emit(events.CallbackInvalid(kind=kind, reason=error.reason, status=error.status, detail=str(error)))
            answer = error_answer(error.status)
        else:
            self._emit(events.CallbackFailed(kind=kind, error=type(error).__name__))
            answer = error_answer(503)
        return msgspec.structs.replace(answer, verifies=opened)


def _send(request: Request, answer: Answer, reply: PassiveReply | StreamReply | None) -> None:
    if request.answer(answer) and reply and reply.written:
        reply.written()


def _is_admissible(callback: Callback) -> bool:
    """Return whether a callback is worth a claim: an event, or a message that the agent can read or we can explain."""
    return callback.type in _ADMITTED_TYPES or (is_message(callback.type) and bool(callback.response_url))
