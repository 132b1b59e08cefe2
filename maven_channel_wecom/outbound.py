"""One reply's way out: rendered, through the window of the message it answers, to a receipt."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.messages import Receipt
from maven_channel_wecom.errors import AnswerLost, RequestNotSent, StateUnavailable
from maven_channel_wecom.patience import keep_trying
from maven_channel_wecom.policy import delivery, rendering
from maven_channel_wecom.policy.reply_window import may_have_window
from maven_channel_wecom.protocol import reply
from maven_channel_wecom.trail import Trail, pseudonym
from maven_channel_wecom.transport.passage import Passage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import Overflow
    from maven_channel_wecom.contract.messages import OutboundMessage
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.policy.delivery import Verdict
    from maven_channel_wecom.policy.rendering import Rendered
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.port import StateStore
    from maven_channel_wecom.transport.reply_client import ReplyClient

    _Part = tuple[ReplyWindow, Rendered]

logger = logging.getLogger(__name__)

# A stop has its own limit, and whoever asked for it does not wait for a database.
_STOP_SECONDS: Final = 1.0


class Outbound:
    """Delivers the replies of one channel.

    Args:
        channel: the name of the channel.
        client: makes one request.
        state: holds the windows.
        metrics: the channel's.
        clock: the channel's.
        random: returns a number from 0 to 1, for the jitter.
        overflow: what happens to a text that is too long.
    """

    def __init__(
        self,
        channel: str,
        *,
        client: ReplyClient,
        state: StateStore,
        metrics: ChannelMetrics,
        clock: Clock,
        random: Callable[[], float],
        overflow: Overflow,
    ) -> None:
        self._trail = Trail(channel, logger)
        self._client = client
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._overflow = overflow

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a message. What the network, WeCom or the state does is told in the receipt, never raised."""
        try:
            receipt, window = await self._send(message)
        except StateUnavailable:
            receipt, window = Receipt(outcome="undeliverable", reason="state"), None
        self._metrics.count_reply(receipt.outcome, receipt.reason or "ok")
        if receipt.truncated_bytes:
            self._metrics.reply_truncations.inc()
            self._metrics.reply_truncated_bytes.inc(receipt.truncated_bytes)
        self._tell(receipt, message, window)
        return receipt

    def _tell(self, receipt: Receipt, message: OutboundMessage, window: ReplyWindow | None) -> None:
        message_id = window.message_id if window else message.reply_to
        facts: dict[str, object] = {"chat": pseudonym(message.chat_id)}
        if window:
            facts["seconds"] = round(max(0.0, self._clock.now() - window.opened_at), 3)
        facts |= {"attempts": receipt.attempts, "truncated_bytes": receipt.truncated_bytes}
        if receipt.outcome == "delivered":
            self._trail.step(logging.INFO, "wecom reply delivered", message_id, **facts)
        else:
            facts |= {"outcome": receipt.outcome, "reason": receipt.reason}
            self._trail.step(logging.WARNING, "wecom reply not delivered", message_id, **facts)

    async def _send(self, message: OutboundMessage) -> tuple[Receipt, ReplyWindow | None]:
        """Return the receipt, and the window that was claimed."""
        rendered = rendering.render(message.content)
        if not rendered.content:
            return Receipt(outcome="undeliverable", reason="empty"), None
        if not may_have_window(message.chat_id, message.reply_to):
            return Receipt(outcome="undeliverable", reason="no_reply_window"), None
        window = await keep_trying(
            lambda: self._state.claim_window(message.chat_id, message.reply_to, self._clock.now()), self._clock
        )
        if window is None:
            return Receipt(outcome="undeliverable", reason="no_reply_window"), None
        self._trail.step(logging.DEBUG, "wecom reply window claimed", window.message_id)
        parts = [(window, rendered)]
        if rendered.truncated_bytes and self._overflow == "continue":
            parts = await self._parts(window, message.content)
        receipt = await self._deliver_parts(parts)
        if receipt.outcome == "delivered":
            self._metrics.answer_seconds.observe(max(0.0, self._clock.now() - window.opened_at))
        return receipt, window

    async def _parts(self, window: ReplyWindow, content: str) -> list[_Part]:
        """Spread a text over its own window and as many spare ones of the chat as it needs and there are."""
        windows = [window]
        rendered = rendering.split(content, 1)
        try:
            with contextlib.suppress(StateUnavailable):
                while rendered[-1].truncated_bytes:
                    spare = await self._state.claim_window(
                        window.chat_id, None, self._clock.now(), spare_of=window.sender_id
                    )
                    if spare is None:
                        break
                    windows.append(spare)
                    rendered = rendering.split(content, len(windows))
            while len(windows) > len(rendered):
                await self._restore(windows.pop())
        except asyncio.CancelledError:
            await self._restore_at_a_stop(windows)
            raise
        return list(zip(windows, rendered, strict=False))

    async def _deliver_parts(self, parts: list[_Part]) -> Receipt:
        """Deliver part after part up to the first that fails; the windows of those not sent go back.

        Once the first part arrived the reply is delivered, whatever becomes of the others: they are cut off.
        """
        verdict = delivery.EXPIRED
        attempts = sent = 0
        for window, rendered in parts:
            try:
                verdict, further_attempts = await self._deliver(window, rendered)
            except asyncio.CancelledError:
                await self._restore_at_a_stop([part[0] for part in parts[sent + 1 :]])
                raise
            attempts += further_attempts
            if verdict.outcome != "delivered":
                break
            sent += 1
        await self._restore_all(parts[sent + 1 :])
        if not sent:
            return Receipt(outcome=verdict.outcome, reason=verdict.reason, attempts=attempts)
        unsent_bytes = sum(len(part.content.encode()) for _, part in parts[sent:])
        return Receipt(
            outcome="delivered", attempts=attempts, truncated_bytes=parts[-1][1].truncated_bytes + unsent_bytes
        )

    async def _deliver(self, window: ReplyWindow, rendered: Rendered) -> tuple[Verdict, int]:
        """Deliver one text through its window, and give the window back if the text surely was not sent."""
        body = reply.markdown_body(rendered.content)
        attempts = 0
        if window.repeated:
            self._metrics.reply_repeats.inc()
        while True:
            seconds_left = window.expires_at - self._clock.now()
            if seconds_left <= 0:
                verdict = delivery.EXPIRED
                break
            attempts += 1
            verdict = await self._attempt(window, body, min(delivery.ATTEMPT_SECONDS, seconds_left))
            self._trail.step(
                logging.DEBUG, "wecom reply attempted", window.message_id, attempt=attempts, outcome=verdict.outcome
            )
            if not verdict.retry:
                break
            delay = delivery.next_delay(
                attempts, fraction=self._random(), seconds_left=window.expires_at - self._clock.now()
            )
            if delay is None:
                break
            self._metrics.count_retry(verdict.reason)
            self._trail.step(
                logging.INFO, "wecom reply retried", window.message_id, reason=verdict.reason, attempt=attempts
            )
            try:
                await self._clock.sleep(delay)
            except asyncio.CancelledError:
                # Nothing of this reply has arrived: another, or the next start, may still be delivered.
                await self._restore_at_a_stop([window])
                raise
        if verdict.outcome == "undeliverable":
            await self._restore(window)
        else:
            await self._record(window, self._state.spend_window)
        return verdict, attempts

    async def _attempt(self, window: ReplyWindow, body: bytes, seconds: float) -> Verdict:
        self._metrics.reply_attempts.inc()
        passage = Passage()
        try:
            answer = await self._client.post(window.url, body, timeout_seconds=seconds, passage=passage)
            verdict = delivery.judge_answer(*answer)
        except (RequestNotSent, AnswerLost) as failure:
            verdict = delivery.judge_failure(failure)
            self._trail.step(
                logging.WARNING, "wecom reply failed", window.message_id, reason=failure.reason, detail=str(failure)
            )
        except asyncio.CancelledError:
            if not passage.left:
                await self._restore_at_a_stop([window])
            raise
        if errcode := verdict.errcode:
            meaning = delivery.meaning(errcode)
            self._trail.step(
                logging.WARNING, "wecom reply not accepted", window.message_id, errcode=errcode, meaning=meaning
            )
        return delivery.judge_repeat(verdict, repeated=window.repeated)

    async def _restore_at_a_stop(self, windows: Sequence[ReplyWindow]) -> None:
        """Open windows again through which nothing was sent: the host gave the answer up, or the channel stops.

        For a moment only: one that stays claimed is opened by whoever takes its message up.
        """
        with contextlib.suppress(TimeoutError, StateUnavailable):
            async with asyncio.timeout(_STOP_SECONDS):
                for window in windows:
                    await self._state.restore_window(window, self._clock.now())

    async def _restore_all(self, parts: list[_Part]) -> None:
        for window, _ in parts:
            await self._restore(window)

    async def _restore(self, window: ReplyWindow) -> None:
        await self._record(window, self._state.restore_window)

    async def _record(
        self, window: ReplyWindow, step: Callable[[ReplyWindow, float], Coroutine[None, None, None]]
    ) -> None:
        """Record what became of a claimed window. When that stays impossible, the receipt is still true."""
        try:
            await keep_trying(lambda: step(window, self._clock.now()), self._clock)
        except StateUnavailable as unavailable:
            self._trail.step(logging.ERROR, "wecom reply not recorded", window.message_id, reason=unavailable.reason)
