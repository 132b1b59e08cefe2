"""One callback's way in: from an HTTP request to an acknowledgement, with the message safely in the inbox."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
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
from maven_channel_wecom.policy import admission, reply_window
from maven_channel_wecom.protocol import envelope, limits
from maven_channel_wecom.protocol.callback import EVENT, EVENT_TYPES, MESSAGE_TYPES, STREAM, read_callback
from maven_channel_wecom.state.port import KeptCallback
from maven_channel_wecom.transport.callback_server import CallbackAnswer, dull_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.inbox import Inbox
    from maven_channel_wecom.log_limit import LogLimit
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.protocol.envelope import OpenedEnvelope
    from maven_channel_wecom.state.port import StateStore

logger = logging.getLogger(__name__)

ADMIT_SECONDS: Final = 3.0
"""A disk that hangs must not cost more: WeCom waits five seconds. Lower: a slow disk costs 503."""

# The original's acknowledgement: the JSON text "success", sealed. WeCom takes it as an empty reply.
_ACKNOWLEDGEMENT: Final = b'"success"'
_ACKNOWLEDGED: Final = frozenset({"accepted", "duplicate", "refused"})


class _Taken(msgspec.Struct, frozen=True):
    """How a callback that opened was taken: the labels of its metric, and what its answer is sealed with."""

    kind: str
    outcome: str
    opened: OpenedEnvelope | None = None
    nonce: str = ""


class Inbound:
    """Answers the callbacks of one channel."""

    def __init__(
        self,
        channel: str,
        config: WeComConfig,
        *,
        inbox: Inbox,
        state: StateStore,
        metrics: ChannelMetrics,
        clock: Clock,
        log_limit: LogLimit,
        random: Callable[[int], bytes],
    ) -> None:
        self._channel = channel
        self._config = config
        self._inbox = inbox
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._log_limit = log_limit
        self._random = random
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether new callbacks are refused because the channel stops."""
        return self._draining

    def refuse_new(self) -> None:
        """Answer every callback from now on with 503, so that WeCom tries again later or elsewhere."""
        self._draining = True

    async def receive(
        self, method: str, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]
    ) -> CallbackAnswer:
        """Answer one HTTP request. Nothing a caller sends makes it raise, or answer 5xx but for a 503 of our own."""
        started = self._clock.now()
        kind = "verify" if method == "GET" else "message"
        try:
            if method == "GET":
                outcome, answer = "accepted", self._check_url(query)
            elif method == "POST":
                taken = await self._take(query, read_body)
                kind, outcome, answer = taken.kind, taken.outcome, self._answer(taken)
            else:
                message = "only GET and POST are answered"
                raise MalformedCallback(message, reason="method", status=405)  # noqa: TRY301 - one place for rejections
        except CallbackRejected as rejection:
            outcome, answer = rejection.reason, self._reject(rejection)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not lose a message: WeCom tries again after a 503
            outcome, answer = "error", dull_answer(503)
            self._log_limit.log(
                logger, logging.ERROR, "wecom callback failed", channel=self._channel, error=type(error).__name__
            )
        self._metrics.count_callback(kind, outcome)
        if answer.status == HTTPStatus.OK:
            # Others would hide in it: a flood of refusals is fast, and a body that never ends is slow.
            self._metrics.callback_seconds.observe(self._clock.now() - started)
        return answer

    def _check_url(self, query: Mapping[str, str]) -> CallbackAnswer:
        """Answer the console's URL check with the bare plaintext: no quotes, no newline (101033)."""
        signed = envelope.read_query(query)
        opened = self._open(signed, envelope.read_echo(query))
        if opened.message.lstrip().startswith(b"{"):
            # Else whoever saw a callback go by could have its ciphertext opened here. A genuine echo is a number.
            message = "the echo is no echo but a callback"
            raise MalformedCallback(message)
        self._log_limit.log(logger, logging.INFO, "wecom callback url checked", channel=self._channel)
        return CallbackAnswer(status=200, body=opened.message)

    async def _take(self, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]) -> _Taken:
        # First, as a body costs memory and a stranger knows no query.
        signed = envelope.read_query(query)
        body = await read_body()
        if self._draining:
            return _Taken("message", "draining")
        opened = self._open(signed, envelope.read_body(body))
        callback = read_callback(opened.message)
        kind = "event" if callback.type == EVENT else "message"
        try:
            # Cancelling it is safe: what was kept all the same is taken up again like the work of a dead process.
            async with asyncio.timeout(ADMIT_SECONDS):
                outcome = await self._admit(callback, opened.message)
        except (StateUnavailable, TimeoutError) as error:
            outcome = error.reason if isinstance(error, StateUnavailable) else StateUnavailable.reason
            self._log_limit.log(logger, logging.ERROR, "wecom state unavailable", channel=self._channel, reason=outcome)
        if outcome == "accepted":
            # Not of a repeat, which WeCom signed earlier.
            self._metrics.clock_skew_seconds = self._clock.wall() - int(signed.timestamp)
        return _Taken(kind, outcome, opened, signed.nonce)

    def _open(self, signed: envelope.SignedQuery, ciphertext: str) -> OpenedEnvelope:
        try:
            opened = envelope.open_envelope(
                self._config.credentials, signed, ciphertext, receive_id=self._config.receive_id
            )
        except (UndecipherableEnvelope, WrongReceiver):
            self._metrics.last_callback_at = self._clock.wall()
            raise
        self._metrics.last_callback_at = self._clock.wall()
        skew = self._config.max_skew_seconds
        if skew and abs(self._clock.wall() - int(signed.timestamp)) > skew:
            raise StaleCallback
        return opened

    async def _admit(self, callback: Callback, message: bytes) -> str:
        """Admit a callback and return the outcome: only what is in the state is acknowledged."""
        if callback.type == STREAM:
            # WeCom asks for more of an answer streamed by passive reply, which this channel never starts.
            self._metrics.count_inbound_message("stream", "unsupported")
            return "accepted"
        if refused := admission.refusal(callback, self._config.rules):
            self._log_limit.log(
                logger,
                logging.INFO,
                "wecom callback refused",
                channel=self._channel,
                reason=refused,
                message_id=callback.message_id,
            )
            return "refused"
        if callback.type == EVENT:
            return await self._admit_event(callback, message)
        if callback.type not in MESSAGE_TYPES:
            self._metrics.count_inbound_message("unknown", "unsupported")
            self._log_limit.log(logger, logging.WARNING, "wecom message type unknown", channel=self._channel)
            return "accepted"
        return await self._admit_message(callback, message)

    async def _admit_message(self, callback: Callback, message: bytes) -> str:
        # A place is taken before the claim: a message refused for lack of one leaves no claim to give back.
        if not self._inbox.reserve():
            return "inbox_full"
        now = self._clock.now()
        kept = KeptCallback(callback.message_id, callback.chat_id, now, message)
        try:
            if not await self._state.admit(kept, reply_window.open_window(callback, now), now):
                return self._duplicate(callback)
            self._inbox.put(AdmittedCallback(callback, now))
        finally:
            self._inbox.give_back()
        return "accepted"

    async def _admit_event(self, callback: Callback, message: bytes) -> str:
        now = self._clock.now()
        if not await self._state.admit(KeptCallback(callback.message_id, callback.chat_id, now, message), None, now):
            return self._duplicate(callback)
        event = callback.event
        type_ = event.type if event and event.type in EVENT_TYPES else "other_event"
        self._metrics.count_inbound_message(type_, "acknowledged")
        details = event.details if event else {}
        logger.info(
            "wecom event acknowledged",
            extra={"fields": {"channel": self._channel, "event": type_, "message_id": callback.message_id, **details}},
        )
        await self._state.finish(callback.message_id, now)
        return "accepted"

    def _duplicate(self, callback: Callback) -> str:
        self._metrics.dedup_hits.inc()
        self._log_limit.log(
            logger, logging.INFO, "wecom callback repeated", channel=self._channel, message_id=callback.message_id
        )
        return "duplicate"

    def _answer(self, taken: _Taken) -> CallbackAnswer:
        if taken.outcome not in _ACKNOWLEDGED or taken.opened is None:
            return dull_answer(503)
        sealed = envelope.seal(
            taken.opened.credentials,
            _ACKNOWLEDGEMENT,
            receive_id=taken.opened.receive_id,
            timestamp=int(self._clock.wall()),
            nonce=taken.nonce,
            random=self._random(limits.FRAME_RANDOM_BYTES),
        )
        return CallbackAnswer(status=200, body=msgspec.json.encode(sealed), content_type="application/json")

    def _reject(self, rejection: CallbackRejected) -> CallbackAnswer:
        self._log_limit.log(
            logger,
            logging.WARNING,
            "wecom callback rejected",
            channel=self._channel,
            reason=rejection.reason,
            status=rejection.status,
            detail=str(rejection),
        )
        return dull_answer(rejection.status)
