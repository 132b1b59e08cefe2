"""The way in: from HTTP requests to acknowledgements, with every new message safely in the state and in the inbox.

Callbacks of one iteration of the event loop, and those that come while the state is busy, are one batch: all are
opened, admitted by one step of the state, and answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import (
    CallbackRejected,
    MalformedCallback,
    StaleCallback,
    StateUnavailable,
    UndecipherableEnvelope,
    WrongReceiver,
)
from maven_channel_wecom.inbox import AdmittedCallback
from maven_channel_wecom.policy import admission
from maven_channel_wecom.policy.reply_window import open_window
from maven_channel_wecom.protocol import envelope, limits
from maven_channel_wecom.protocol.callback import EVENT, MESSAGE_TYPES, read_callback
from maven_channel_wecom.server.messages import RETRY_LATER, Answer, error_answer
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.errors import Refusal, Unavailability
    from maven_channel_wecom.inbox import Inbox
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.protocol.envelope import OpenedEnvelope, SignedQuery
    from maven_channel_wecom.server.messages import Request
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.telemetry.events import CallbackKind, CallbackOutcome, Emit

ADMIT_SECONDS: Final = 3.0
"""From the arrival of a callback to its answer, at most. WeCom waits five seconds. Lower: a slow disk costs 503."""

BATCH_CALLBACKS: Final = 64
"""Opened before anything else gets a turn: some two milliseconds. Lower: a commit is shared by fewer."""

BATCH_BYTES: Final = 256 * 1024
"""Of bodies, for the same reason: one of a mebibyte takes some ten milliseconds, whoever sent it."""

_UNAVAILABLE: Final = error_answer(503)

_ACKNOWLEDGED: Final = frozenset({"accepted", "duplicate", "refused"})

_ADMITTED_TYPES: Final = frozenset({*MESSAGE_TYPES, EVENT})

# The original's acknowledgement: the JSON text "success", sealed. WeCom takes it as an empty reply.
_SUCCESS: Final = b'"success"'


class _OpenedCallback(msgspec.Struct, frozen=True, gc=False):
    """A genuine callback on its way to an answer."""

    request: Request
    started_at: float
    signed: SignedQuery
    envelope: OpenedEnvelope
    callback: Callback

    @property
    def kind(self) -> CallbackKind:
        return "event" if self.callback.type == EVENT else "message"


class Inbound:
    """Answers the callbacks of one channel: the receiver of its callback server.

    Args:
        config: the channel's settings.
        state: where messages are admitted.
        inbox: where admitted messages go.
        emit: reports what happened.
        clock: the channel's.
        random: returns that many bytes nobody can guess.
    """

    def __init__(
        self,
        config: WeComConfig,
        *,
        state: StateStore,
        inbox: Inbox,
        emit: Emit,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._state = state
        self._inbox = inbox
        self._emit = emit
        self._clock = clock
        self._random = random
        self.last_signed_at = 0.0
        """When the last callback whose signature held came, by the wall clock; 0 before the first."""
        self._loop = asyncio.get_running_loop()
        self._draining = False
        # Requests with the time they came, and callbacks that wait for the state.
        self._received: deque[tuple[Request, float]] = deque()
        self._opened: list[_OpenedCallback] = []
        self._admitting: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether new callbacks are refused because the channel stops."""
        return self._draining

    def drain(self) -> None:
        """Answer every callback from now on with 503, so that WeCom tries again later or elsewhere."""
        self._draining = True

    def check_head(self, method: str, query: bytes) -> Answer | None:  # noqa: ARG002 - the receiver's signature
        """Refuse a callback that cannot be admitted now, before its body is received."""
        if method == "POST" and (reason := self._unavailability()):
            return self._unavailable(reason)
        return None

    def receive(self, request: Request) -> None:
        """Answer a request: the console's URL check at once, a callback with its batch."""
        if request.method == "GET":
            request.answer(self._check_url(request.query))
            return
        if not self._received:
            # In the next iteration of the loop: what else this one brings is in the same batch.
            self._loop.call_soon(self._open_received)
        self._received.append((request, self._clock.now()))

    def _open_received(self) -> None:
        """Open what was received, and answer all that needs no state: a state that hangs must not hold it up."""
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
        """Admit a batch and answer it; a state that fails or hangs costs each of it a 503."""
        now = self._clock.now()
        outcomes: Sequence[CallbackOutcome]
        try:
            async with asyncio.timeout(batch[0].started_at + ADMIT_SECONDS - now):
                new = await self._state.admit([_admission(opened, now) for opened in batch], now)
            outcomes = ["accepted" if is_new else "duplicate" for is_new in new]
        except StateUnavailable as unavailable:
            outcomes = [unavailable.reason] * len(batch)
        except TimeoutError:
            # What was stored none the less is recovered like the messages of a process that died.
            outcomes = ["state"] * len(batch)
        except Exception as error:  # noqa: BLE001 - a bug must not leave callers without an answer
            for opened in batch:
                self._inbox.release_place()
                opened.request.answer(self._failed(opened.kind, error))
            return
        for opened, outcome in zip(batch, outcomes, strict=True):
            # First of all: whatever happens to an answer, a message in the state is worked on.
            self._inbox.release_place()
            if outcome == "accepted":
                self._inbox.put(AdmittedCallback(opened.callback, now))
        answers = [self._answer_for(opened, outcome) for opened, outcome in zip(batch, outcomes, strict=True)]
        # All of them are written with nothing in between: each write leaves the caches cold for what comes next.
        for opened, answer in zip(batch, answers, strict=True):
            opened.request.answer(answer)
        for opened, outcome in zip(batch, outcomes, strict=True):
            self._report(opened, outcome)

    def _open(self, request: Request, started_at: float) -> _OpenedCallback | None:
        """Open a callback and hold a place in the inbox for it; None when it is answered already."""
        try:
            if reason := self._unavailability():
                request.answer(self._unavailable(reason))
                return None
            signed = envelope.read_query(envelope.parse_query(request.query))
            opened_envelope = self._open_envelope(signed, envelope.read_body(request.body))
            self.last_signed_at = self._clock.wall()
            opened = _OpenedCallback(
                request, started_at, signed, opened_envelope, read_callback(opened_envelope.message)
            )
            refusal = admission.refusal(opened.callback, self._config.rules)
            if refusal is None and opened.callback.type in _ADMITTED_TYPES:
                self._inbox.hold_place()
                return opened
        except Exception as error:  # noqa: BLE001 - see _failed
            if isinstance(error, UndecipherableEnvelope | WrongReceiver | StaleCallback):
                # These come after the signature was checked.
                self.last_signed_at = self._clock.wall()
            request.answer(self._failed("message", error))
            return None
        # Else a type that WeCom added later, or the refresh of a streamed answer, which this channel never starts.
        outcome: CallbackOutcome = "refused" if refusal else "accepted"
        request.answer(self._answer_for(opened, outcome))
        self._report(opened, outcome, refusal=refusal)
        return None

    def _open_envelope(self, signed: SignedQuery, ciphertext: str) -> OpenedEnvelope:
        opened = envelope.open_envelope(
            self._config.credentials, signed, ciphertext, receive_id=self._config.receive_id
        )
        skew = self._config.max_skew_seconds
        if skew and abs(self._clock.wall() - int(signed.timestamp)) > skew:
            raise StaleCallback
        return opened

    def _answer_for(self, opened: _OpenedCallback, outcome: CallbackOutcome) -> Answer:
        """Return the sealed acknowledgement of a callback, or what asks WeCom to send it again."""
        if outcome not in _ACKNOWLEDGED:
            return RETRY_LATER
        try:
            sealed = envelope.seal(
                opened.envelope.credentials,
                _SUCCESS,
                receive_id=opened.envelope.receive_id,
                timestamp=int(self._clock.wall()),
                nonce=opened.signed.nonce,
                random=self._random(limits.FRAME_RANDOM_BYTES),
            )
        except Exception as error:  # noqa: BLE001 - a bug must not leave the others of its batch without an answer
            return self._failed(opened.kind, error)
        return Answer(status=200, body=msgspec.json.encode(sealed), content_type="application/json", verifies=True)

    def _report(self, opened: _OpenedCallback, outcome: CallbackOutcome, *, refusal: Refusal | None = None) -> None:
        callback, event = opened.callback, opened.callback.event
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
        """Answer the console's URL check with the bare plaintext: no quotes, no newline (101033)."""
        started_at = self._clock.now()
        try:
            parameters = envelope.parse_query(query)
            opened = self._open_envelope(envelope.read_query(parameters), envelope.read_echo(parameters))
            if opened.message.lstrip().startswith(b"{"):
                # Else whoever saw a callback pass could have its ciphertext opened here. A genuine echo is a number.
                message = "the echo is no echo but a callback"
                raise MalformedCallback(message)  # noqa: TRY301 - one place for rejections
        except Exception as error:  # noqa: BLE001 - see _failed
            return self._failed("verify", error)
        self._emit(events.UrlChecked(started_at=started_at, answered_at=self._clock.now()))
        # An echo can be replayed by whoever reads an access log, so it verifies no connection.
        return Answer(status=200, body=opened.message)

    def _unavailability(self) -> Unavailability | None:
        if self._draining:
            return "draining"
        return "inbox_full" if self._inbox.is_full else None

    def _unavailable(self, reason: Unavailability) -> Answer:
        self._emit(events.CallbackUnavailable(reason=reason))
        return _UNAVAILABLE

    def _failed(self, kind: CallbackKind, error: Exception) -> Answer:
        """Return the answer to what is not accepted. After a bug of ours it is 503: WeCom may try again."""
        if isinstance(error, CallbackRejected):
            self._emit(events.CallbackInvalid(kind=kind, reason=error.reason, status=error.status, detail=str(error)))
            return error_answer(error.status)
        self._emit(events.CallbackFailed(kind=kind, error=type(error).__name__))
        return error_answer(503)


def _admission(opened: _OpenedCallback, now: float) -> Admission:
    callback = opened.callback
    return Admission(StoredCallback(callback.message_id, now, opened.envelope.message), open_window(callback, now))
