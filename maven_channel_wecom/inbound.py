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
from maven_channel_wecom.policy import admission
from maven_channel_wecom.policy.reply_window import open_window
from maven_channel_wecom.protocol import envelope, limits, reply
from maven_channel_wecom.protocol.callback import ENTER_CHAT, EVENT, MESSAGE_TYPES, is_message, read_callback
from maven_channel_wecom.server.messages import RETRY_LATER, Answer, error_answer
from maven_channel_wecom.state.store import Admission, StoredCallback
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.errors import Refusal, Unavailability
    from maven_channel_wecom.inbox import Inbox
    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.protocol.envelope import OpenedEnvelope, SignedQuery
    from maven_channel_wecom.refusals import Refusals
    from maven_channel_wecom.server.messages import Request
    from maven_channel_wecom.state.store import StateStore
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

# The Go original acknowledges with the sealed JSON text "success" too. WeCom treats it as an empty reply.
_SUCCESS: Final = b'"success"'


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
        refusals: tells people that they are refused.
        languages: chooses the language of the welcome.
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
        refusals: Refusals,
        languages: Languages,
        emit: Emit,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._state = state
        self._inbox = inbox
        self._refusals = refusals
        self._languages = languages
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

    @property
    def draining(self) -> bool:
        """Whether the channel is draining and refuses new callbacks."""
        return self._draining

    def drain(self) -> None:
        """Answer every callback with 503 from now on, so that WeCom tries again later or elsewhere."""
        self._draining = True

    def check_head(self, method: str, query: bytes) -> Answer | None:  # noqa: ARG002 - the server passes it
        """Return the answer that refuses a callback before its body is received, None if it may be admitted."""
        if method == "POST" and (reason := self._unavailable_reason()):
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
                new = await self._state.admit([_admission(opened, now) for opened in batch], now)
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
        for opened, outcome in zip(batch, outcomes, strict=True):
            # Before answers are made: a message that is stored must be processed even if its answer fails.
            if outcome == "accepted":
                self._inbox.put(opened.callback, now, held=True)
            else:
                self._inbox.release_place(opened.callback)
        answers = [self._answer_to_outcome(opened, outcome) for opened, outcome in zip(batch, outcomes, strict=True)]
        # Answers are written back to back, because each socket write leaves cold caches for the code after it.
        for opened, answer in zip(batch, answers, strict=True):
            opened.request.answer(answer)
        for opened, outcome in zip(batch, outcomes, strict=True):
            self._emit_answered(opened, outcome)

    def _open(self, request: Request, started_at: float) -> _OpenedCallback | None:
        """Open a callback and hold a place in the inbox for it. Return None if it is answered already."""
        opened_envelope = None
        try:
            if reason := self._unavailable_reason():
                request.answer(self._unavailable_answer(reason))
                return None
            signed = envelope.read_query(envelope.parse_query(request.query))
            opened_envelope = self._open_envelope(signed, envelope.read_body(request.body))
            self.last_signed_at = self._clock.wall()
            opened = _OpenedCallback(
                request, started_at, signed, opened_envelope, read_callback(opened_envelope.message)
            )
            refusal = admission.refusal(opened.callback, self._config.rules)
            is_admitted = refusal is None and _is_admissible(opened.callback)
            if is_admitted and self._inbox.hold_place(opened.callback):
                return opened
        except Exception as error:  # noqa: BLE001 - a bug must not leave the request without an answer
            if isinstance(error, UndecipherableEnvelope | WrongReceiver | StaleCallback):
                # These errors are raised only once the signature was found to be valid.
                self.last_signed_at = self._clock.wall()
            # A stale callback may be one that was recorded, so it does not verify the connection.
            is_opened = opened_envelope is not None or isinstance(error, WrongReceiver)
            request.answer(self._answer_to_error("message", error, opened=is_opened))
            return None
        # "accepted" here means an unknown type without a URL to answer it, or a stream refresh, as nothing is streamed.
        outcome: CallbackOutcome = "refused" if refusal else "chat_full" if is_admitted else "accepted"
        request.answer(self._answer_to_outcome(opened, outcome))
        self._emit_answered(opened, outcome, refusal=refusal)
        if refusal:
            self._refusals.explain(opened.callback, refusal)
        return None

    def _open_envelope(self, signed: SignedQuery, ciphertext: str) -> OpenedEnvelope:
        opened = envelope.open_envelope(
            self._config.credentials, signed, ciphertext, receive_id=self._config.receive_id
        )
        skew = self._config.max_skew_seconds
        if skew and abs(self._clock.wall() - int(signed.timestamp)) > skew:
            raise StaleCallback
        return opened

    def _answer_to_outcome(self, opened: _OpenedCallback, outcome: CallbackOutcome) -> Answer:
        """Return the sealed acknowledgement of a callback, or the answer that asks WeCom to send it again."""
        if outcome not in _ACKNOWLEDGED_OUTCOMES:
            return RETRY_LATER
        try:
            sealed = envelope.seal(
                opened.envelope.credentials,
                self._welcome(opened, outcome) or _SUCCESS,
                receive_id=opened.envelope.receive_id,
                timestamp=int(self._clock.wall()),
                nonce=opened.signed.nonce,
                random=self._random(limits.FRAME_RANDOM_BYTES),
            )
        except Exception as error:  # noqa: BLE001 - a bug must not leave the rest of the batch without an answer
            return self._answer_to_error(opened.kind, error, opened=True)
        return Answer(status=200, body=msgspec.json.encode(sealed), content_type="application/json", verifies=True)

    def _welcome(self, opened: _OpenedCallback, outcome: CallbackOutcome) -> bytes | None:
        """Return the passive answer that greets a person who enters the chat; a repeated callback gets it again."""
        event = opened.callback.event
        if event is None or event.type != ENTER_CHAT or outcome == "refused" or not any(self._config.welcome_text):
            return None
        language = self._languages.of_person(opened.callback.sender_id)
        return reply.welcome_body(self._config.welcome_text.text(language))

    def _emit_answered(
        self, opened: _OpenedCallback, outcome: CallbackOutcome, *, refusal: Refusal | None = None
    ) -> None:
        callback, event = opened.callback, opened.callback.event
        if outcome == "accepted" and self._welcome(opened, outcome):
            self._emit(events.PersonWelcomed(message_id=callback.message_id))
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

    def _unavailable_reason(self) -> Unavailability | None:
        if self._draining:
            return "draining"
        return "inbox_full" if self._inbox.is_full else None

    def _unavailable_answer(self, reason: Unavailability) -> Answer:
        self._emit(events.CallbackUnavailable(reason=reason))
        return error_answer(503)

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


def _is_admissible(callback: Callback) -> bool:
    """Return whether a callback is worth a claim: an event, or a message that the agent can read or we can explain."""
    return callback.type in _ADMITTED_TYPES or (is_message(callback.type) and bool(callback.response_url))


def _admission(opened: _OpenedCallback, now: float) -> Admission:
    callback = opened.callback
    return Admission(StoredCallback(callback.message_id, now, opened.envelope.message), open_window(callback, now))
