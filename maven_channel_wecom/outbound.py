"""Delivery of a reply: from markdown, through the reply window of the message it answers, to a receipt."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from maven_channel_wecom.contract.messages import Receipt
from maven_channel_wecom.egress.egress import SendProgress
from maven_channel_wecom.errors import AnswerLost, RequestNotSent, StateUnavailable
from maven_channel_wecom.policy import delivery, rendering
from maven_channel_wecom.policy.reply_window import chat_key, may_have_window
from maven_channel_wecom.protocol import reply
from maven_channel_wecom.state.store import retry_while_unavailable
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import Overflow
    from maven_channel_wecom.contract.messages import OutboundMessage
    from maven_channel_wecom.policy.delivery import Verdict
    from maven_channel_wecom.policy.rendering import Rendered
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.telemetry.events import Emit

    _Part = tuple[ReplyWindow, Rendered]

CONCURRENT_POSTS: Final = 100
"""Maximum number of replies of a channel that are being sent at the same time, each on its own connection. The others
wait, as long as their windows are open. Lower: replies wait longer while WeCom is slow. Higher: more open files."""

# A cancelled reply must end soon: a channel that stops has its own deadline and does not wait for a database.
_CANCELLED_RESTORE_SECONDS: Final = 1.0


class Poster(Protocol):
    """The part of Egress that Outbound uses, so that tests can replace it."""

    async def post(self, url: str, body: bytes, *, timeout_seconds: float, progress: SendProgress) -> tuple[int, bytes]:
        """POST JSON once, and return the status and body of the answer.

        Raises:
            RequestNotSent: nothing of the request left this machine.
            AnswerLost: the request left or may have left, and no complete answer arrived.
        """
        ...


class Outbound:
    """Delivers the replies of one channel.

    Args:
        poster: makes requests.
        state: stores the reply windows.
        emit: receives telemetry events.
        clock: the clock of the channel.
        random: returns a random number from 0 to 1, for jitter.
        overflow: whether a text over WeCom's limit is truncated or continued through spare windows.
    """

    def __init__(
        self,
        *,
        poster: Poster,
        state: StateStore,
        emit: Emit,
        clock: Clock,
        random: Callable[[], float],
        overflow: Overflow,
    ) -> None:
        self._poster = poster
        self._state = state
        self._emit = emit
        self._clock = clock
        self._random = random
        self._overflow = overflow
        self._places = asyncio.Semaphore(CONCURRENT_POSTS)

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a message. Failures of the network, WeCom or the state are reported in the receipt, never raised."""
        try:
            receipt, window = await self._send(message)
        except StateUnavailable:
            receipt, window = Receipt(outcome="undeliverable", reason="state"), None
        self._emit(
            events.ReplyEnded(
                message_id=window.message_id if window else message.reply_to,
                chat_id=message.chat_id,
                outcome=receipt.outcome,
                reason=receipt.reason,
                attempts=receipt.attempts,
                truncated_bytes=receipt.truncated_bytes,
                seconds=max(0.0, self._clock.now() - window.opened_at) if window else None,
            )
        )
        return receipt

    async def _send(self, message: OutboundMessage) -> tuple[Receipt, ReplyWindow | None]:
        """Deliver a message, and return its receipt and the window that was claimed for it, if any."""
        rendered = rendering.render(message.content)
        if not rendered.content:
            return Receipt(outcome="undeliverable", reason="empty"), None
        window = await self._claim_window(message)
        if window is None:
            return Receipt(outcome="undeliverable", reason="no_reply_window"), None
        self._emit(events.WindowClaimed(message_id=window.message_id))
        parts = [(window, rendered)]
        if rendered.truncated_bytes and self._overflow == "continue":
            parts = await self._split(window, message.content)
        return await self._deliver_parts(parts), window

    async def _claim_window(self, message: OutboundMessage) -> ReplyWindow | None:
        if not may_have_window(message.chat_id, message.reply_to):
            return None
        chats = _chat_keys(message)
        return await retry_while_unavailable(
            lambda: self._state.claim_window(chats, message.reply_to, self._clock.now()), self._clock
        )

    async def _split(self, window: ReplyWindow, content: str) -> list[_Part]:
        """Split a text over its own window and as many spare windows of the chat as it needs and are available."""
        splitter = rendering.Splitter(content)
        parts: list[_Part] = []
        windows = [window]
        try:
            with contextlib.suppress(StateUnavailable):
                while not splitter.fits:
                    spare = await self._state.claim_window(
                        (window.chat,), None, self._clock.now(), spare_of=window.sender_id
                    )
                    if spare is None:
                        break
                    parts.append((windows[-1], splitter.cut()))
                    windows.append(spare)
                    # A part takes about a millisecond, and the state may have answered without waiting.
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            await self._restore_cancelled(windows)
            raise
        return [*parts, (windows[-1], splitter.rest())]

    async def _deliver_parts(self, parts: Sequence[_Part]) -> Receipt:
        """Deliver parts in order until one fails, and restore the windows of the parts after it.

        Once the first part is delivered the reply counts as delivered; parts that are not delivered count as truncated.
        """
        verdict = delivery.EXPIRED
        attempts = sent = 0
        for window, rendered in parts:
            try:
                verdict, part_attempts = await self._deliver(window, rendered)
            except asyncio.CancelledError:
                await self._restore_cancelled([unsent for unsent, _ in parts[sent + 1 :]])
                raise
            attempts += part_attempts
            if verdict.outcome != "delivered":
                break
            sent += 1
        for window, _ in parts[sent + 1 :]:
            await self._record(window, self._state.restore_window)
        if not sent:
            return Receipt(outcome=verdict.outcome, reason=verdict.reason, attempts=attempts)
        unsent_bytes = sum(len(part.content.encode()) for _, part in parts[sent:])
        return Receipt(
            outcome="delivered", attempts=attempts, truncated_bytes=parts[-1][1].truncated_bytes + unsent_bytes
        )

    async def _deliver(self, window: ReplyWindow, rendered: Rendered) -> tuple[Verdict, int]:
        """Deliver one text through its window, and restore the window if the text was not delivered.

        A window that may have been used all the same is restored as `repeated`, so that a later reply which finds it
        spent is not counted as refused.

        Return the verdict on the last attempt and the number of attempts.
        """
        body = reply.markdown_body(rendered.content)
        verdict = delivery.EXPIRED
        attempts = 0
        delay: float | None = 0.0
        while delay is not None:
            try:
                if delay:
                    await self._clock.sleep(delay)
                await self._places.acquire()
            except asyncio.CancelledError:
                # This text has not arrived, so the message can still be answered, even by the next process.
                await self._restore_cancelled([window])
                raise
            try:
                seconds_left = window.expires_at - self._clock.now()
                if seconds_left <= 0:
                    break
                attempts += 1
                verdict = await self._attempt(window, body, attempts, min(delivery.ATTEMPT_SECONDS, seconds_left))
            finally:
                self._places.release()
            if not verdict.retry:
                break
            if delivery.may_have_arrived(verdict):
                window = msgspec.structs.replace(window, repeated=True)
            delay = delivery.next_delay(
                attempts, fraction=self._random(), seconds_left=window.expires_at - self._clock.now()
            )
            if delay is not None:
                self._emit(events.AttemptRetried(message_id=window.message_id, attempt=attempts, reason=verdict.reason))
        not_sent = verdict.outcome == "undeliverable"
        await self._record(window, self._state.restore_window if not_sent else self._state.spend_window)
        return verdict, attempts

    async def _attempt(self, window: ReplyWindow, body: bytes, attempt: int, timeout_seconds: float) -> Verdict:
        self._emit(events.AttemptStarted(message_id=window.message_id, attempt=attempt, repeated=window.repeated))
        progress = SendProgress()
        failure = detail = ""
        try:
            answer = await self._poster.post(window.url, body, timeout_seconds=timeout_seconds, progress=progress)
            verdict = delivery.judge_answer(*answer)
        except (RequestNotSent, AnswerLost) as error:
            verdict = delivery.judge_failure(error)
            failure, detail = error.reason, str(error)
        except asyncio.CancelledError:
            if not progress.left:
                await self._restore_cancelled([window])
            raise
        judged = delivery.judge_repeat(verdict, repeated=window.repeated)
        self._emit(
            events.AttemptEnded(
                message_id=window.message_id,
                attempt=attempt,
                outcome=judged.outcome,
                errcode=verdict.errcode,
                meaning=delivery.meaning(verdict.errcode) if verdict.errcode else "",
                failure=failure,
                detail=detail,
            )
        )
        return judged

    async def _restore_cancelled(self, windows: Sequence[ReplyWindow]) -> None:
        """Restore the windows of a cancelled reply through which nothing was sent, within a short timeout.

        A window that stays claimed is restored when its message is recovered. A spare window, whose message is
        finished, stays claimed until it expires.
        """
        with contextlib.suppress(TimeoutError, StateUnavailable):
            async with asyncio.timeout(_CANCELLED_RESTORE_SECONDS):
                for window in windows:
                    await self._state.restore_window(window, self._clock.now())

    async def _record(self, window: ReplyWindow, operation: Callable[[ReplyWindow, float], Awaitable[None]]) -> None:
        """Record that a claimed window is spent or restored. A failure is reported and does not change the receipt."""
        try:
            await retry_while_unavailable(lambda: operation(window, self._clock.now()), self._clock)
        except StateUnavailable as unavailable:
            self._emit(events.ReplyNotRecorded(message_id=window.message_id, reason=unavailable.reason))


def _chat_keys(message: OutboundMessage) -> tuple[str, ...]:
    """Return the keys of the chats that a message may be for: both kinds unless the host names the kind."""
    single, group = (chat_key(message.chat_id, is_group=is_group) for is_group in (False, True))
    match message.metadata.get("chat_type"):
        case "single":
            return (single,)
        case "group":
            return (group,)
    return single, group
