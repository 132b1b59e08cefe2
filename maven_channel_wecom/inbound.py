"""One callback's way in: from an HTTP request to an acknowledgement, with the message safely in the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom.acknowledgement import Acknowledgements
from maven_channel_wecom.errors import (
    CallbackRejected,
    MalformedCallback,
    StaleCallback,
    UndecipherableEnvelope,
    WrongReceiver,
)
from maven_channel_wecom.later import Later, settled
from maven_channel_wecom.patience import TimeLimit
from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.protocol.callback import EVENT, read_callback
from maven_channel_wecom.transport.callback_answer import UNTAKEN, CallbackAnswer, dull_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from maven_channel_wecom.callback_log import CallbackLog
    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.intake import Intake
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.protocol.envelope import OpenedEnvelope

ADMIT_SECONDS: Final = 3.0
"""A disk that hangs must not cost more: WeCom waits five seconds. Lower: a slow disk costs 503."""

_ACKNOWLEDGED: Final = frozenset({"accepted", "duplicate", "refused"})


class Inbound:
    """Answers the callbacks of one channel."""

    def __init__(
        self,
        config: WeComConfig,
        *,
        intake: Intake,
        take: Callable[[Callback, bytes], str | Later[str]],
        metrics: ChannelMetrics,
        clock: Clock,
        log: CallbackLog,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._intake = intake
        self._take_in = take
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._acknowledgements = Acknowledgements(random)
        self._time_limit = TimeLimit(ADMIT_SECONDS)
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
        """Answer any HTTP request. Nothing a caller sends makes it raise, or answer 5xx but for a 503 of our own."""
        started = self._clock.now()
        if method == "GET":
            try:
                return self._answered("verify", "accepted", self._check_url(query), started)
            except Exception as error:  # noqa: BLE001 - see _rejected
                return self._rejected("verify", error)
        try:
            if method != "POST":
                message = "only GET and POST are answered"
                raise MalformedCallback(message, reason="method", status=405)  # noqa: TRY301 - one place for rejections
            # First, as a body costs memory and a stranger knows no query.
            signed = envelope.read_query(query)
            body = b"" if self._busy() else await read_body()
            return await settled(self._take(signed, body, started))
        except Exception as error:  # noqa: BLE001 - see _rejected
            return self._rejected("message", error)

    def receive_ordinary(self, query: bytes, body: bytes) -> CallbackAnswer | Later[CallbackAnswer] | None:
        """Answer a POST that came whole, at once where the state does not wait; None when `receive` must judge."""
        signed = envelope.read_plain_query(query)
        if signed is None:
            return None
        started = self._clock.now()
        try:
            return self._take(signed, body, started)
        except Exception as error:  # noqa: BLE001 - see _rejected
            return self._rejected("message", error)

    def _check_url(self, query: Mapping[str, str]) -> CallbackAnswer:
        """Answer the console's URL check with the bare plaintext: no quotes, no newline (101033)."""
        signed = envelope.read_query(query)
        opened = self._open(signed, envelope.read_echo(query))
        if opened.message.lstrip().startswith(b"{"):
            # Else whoever saw a callback go by could have its ciphertext opened here. A genuine echo is a number.
            message = "the echo is no echo but a callback"
            raise MalformedCallback(message)
        self._log.url_checked()
        return CallbackAnswer(status=200, body=opened.message)

    def _busy(self) -> str | None:
        """Tell why nothing new is taken now, before any work is done for it."""
        if self._draining:
            return "draining"
        return "inbox_full" if self._intake.is_full else None

    def _take(
        self, signed: envelope.SignedQuery, body: bytes, started: float
    ) -> CallbackAnswer | Later[CallbackAnswer]:
        if busy := self._busy():
            return self._turned_away("message", busy, dull_answer(503))
        opened = self._open(signed, envelope.read_body(body))
        callback = read_callback(opened.message)
        outcome = self._take_in(callback, opened.message)
        if not isinstance(outcome, Later):
            return self._acknowledge(callback, outcome, opened, signed, started)
        # Giving up is safe: what was kept all the same is taken up again like the work of a dead process.
        self._time_limit.put_on(outcome.done)

        def acknowledge(result: Callable[[], str]) -> CallbackAnswer:
            try:
                return self._acknowledge(callback, result(), opened, signed, started)
            except Exception as error:  # noqa: BLE001 - see _rejected
                return self._rejected("message", error)

        return outcome.then(acknowledge)

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

    def _acknowledge(
        self, callback: Callback, outcome: str, opened: OpenedEnvelope, signed: envelope.SignedQuery, started: float
    ) -> CallbackAnswer:
        kind = "event" if callback.type == EVENT else "message"
        if outcome not in _ACKNOWLEDGED:
            return self._turned_away(kind, outcome, UNTAKEN, callback)
        wall = self._clock.wall()
        if outcome == "accepted":
            # Not of a repeat, which WeCom signed earlier.
            self._metrics.clock_skew_seconds = wall - int(signed.timestamp)
        answer = self._acknowledgements.answer(opened, nonce=signed.nonce, second=int(wall))
        return self._answered(kind, outcome, answer, started)

    def _answered(self, kind: str, outcome: str, answer: CallbackAnswer, started: float) -> CallbackAnswer:
        self._metrics.count_callback(kind, outcome)
        # Only these: others would hide in it, as a flood of refusals is fast, and a body that never ends is slow.
        self._metrics.callback_seconds.observe(self._clock.now() - started)
        return answer

    def _turned_away(
        self, kind: str, outcome: str, answer: CallbackAnswer, callback: Callback | None = None
    ) -> CallbackAnswer:
        self._metrics.count_callback(kind, outcome)
        self._log.turned_away(outcome, callback)
        return answer

    def _rejected(self, kind: str, error: Exception) -> CallbackAnswer:
        """Answer what is not taken. After a bug of ours with 503, as it must not lose a message: WeCom tries again."""
        if isinstance(error, CallbackRejected):
            self._metrics.count_callback(kind, error.reason)
            self._log.rejected(error)
            return dull_answer(error.status)
        self._metrics.count_callback(kind, "error")
        self._log.failed(error)
        return dull_answer(503)
