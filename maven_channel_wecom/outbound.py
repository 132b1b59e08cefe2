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
from maven_channel_wecom.protocol import limits, reply
from maven_channel_wecom.sentences import ANSWER_EMPTY
from maven_channel_wecom.state.store import retry_while_unavailable
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import Overflow
    from maven_channel_wecom.contract.messages import OutboundMessage
    from maven_channel_wecom.policy.delivery import Verdict
    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.policy.rendering import Rendered
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.telemetry.events import Emit

    _Part = tuple[ReplyWindow, Rendered]
    _Record = Callable[[ReplyWindow, float], Awaitable[None]]
    _Claims = dict[ReplyWindow, _Record]
    """The windows that one reply has claimed, with the state operation that is still to be recorded for each."""

CONCURRENT_POSTS: Final = 100
"""Maximum number of replies of a channel that are being sent at the same time, each on its own connection. The others
wait, as long as their windows are open. Lower: replies wait longer while WeCom is slow. Higher: more open files."""

# A cancelled reply must end soon: a channel that stops has its own deadline and does not wait for a database.
_CANCELLED_SECONDS: Final = 1.0


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
        languages: chooses the language of notices if a message names none.
        feedback_id: returns the id for feedback on the answer to a message; None if nobody is asked for feedback.
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
        languages: Languages,
        feedback_id: Callable[[str], str] | None,
    ) -> None:
        self._poster = poster
        self._state = state
        self._emit = emit
        self._clock = clock
        self._random = random
        self._overflow = overflow
        self._languages = languages
        self._feedback_id = feedback_id
        self._places = asyncio.Semaphore(CONCURRENT_POSTS)
        # The replies in progress with their chats, in the order in which they began.
        self._sending: dict[asyncio.Task[Receipt], tuple[str, ...]] = {}

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a message. Failures of the network, WeCom or the state are reported in the receipt, never raised.

        If the caller is cancelled, the windows through which nothing was sent are restored, if need be in the
        background. A window through which something may have been sent stays claimed until its message is recovered.
        """
        # In a task that is cancelled once at most, so that what it records afterwards is not interrupted again.
        task = asyncio.create_task(self._send_and_report(message), name="wecom reply")
        self._sending[task] = _chat_keys(message)
        task.add_done_callback(self._sending.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=_CANCELLED_SECONDS)
            raise

    async def _send_and_report(self, message: OutboundMessage) -> Receipt:
        claims: _Claims = {}
        try:
            receipt, window = await self._send(message, claims)
        except StateUnavailable:
            receipt, window = Receipt(outcome="undeliverable", reason="state"), None
        finally:
            for unrecorded, record in list(claims.items()):
                await self._record(claims, unrecorded, record)
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

    async def _send(self, message: OutboundMessage, claims: _Claims) -> tuple[Receipt, ReplyWindow | None]:
        """Deliver a message, and return its receipt and the window that was claimed for it, if any."""
        if message.metadata.get("silent") == "true":
            return Receipt(outcome="undeliverable", reason="silent"), None
        window = await self._claim_window(message)
        if window is None:
            return Receipt(outcome="undeliverable", reason="no_reply_window"), None
        claims[window] = self._state.restore_window
        self._emit(events.WindowClaimed(message_id=window.message_id))
        language = message.metadata.get("language") or self._languages.of_person(window.sender_id)
        rendered = rendering.render(message.content, language=language)
        if not rendered.content:
            self._emit(events.PersonExplained(message_id=window.message_id, reason="empty_answer"))
            rendered = rendering.render(ANSWER_EMPTY.text(language))
        parts = [(window, rendered)]
        if rendered.truncated_bytes and self._overflow == "continue":
            parts = await self._split(claims, window, message.content, language)
        feedback_id = self._feedback_id(window.message_id) if self._feedback_id else ""
        return await self._deliver_parts(claims, parts, feedback_id), window

    async def _claim_window(self, message: OutboundMessage) -> ReplyWindow | None:
        if not may_have_window(message.chat_id, message.reply_to):
            return None
        chats = _chat_keys(message)
        while True:
            # Found before the claim, because it may end while the claim is on its way.
            earlier = self._find_earlier(chats)
            window = await retry_while_unavailable(
                lambda: self._state.claim_window(chats, message.reply_to, self._clock.now()),
                self._clock,
                # No window that is open now lasts longer.
                until=self._clock.now() + limits.RESPONSE_URL_SECONDS,
            )
            if window is not None or earlier is None:
                return window
            # It may be about to restore the window, above all if the host has just cancelled it.
            await asyncio.wait([earlier])

    def _find_earlier(self, chats: Sequence[str]) -> asyncio.Task[Receipt] | None:
        """Return a reply to one of these chats that began before the current one and has not ended."""
        current = asyncio.current_task()
        for task, its_chats in self._sending.items():
            if task is current:
                return None
            if not set(chats).isdisjoint(its_chats):
                return task
        return None

    async def _split(self, claims: _Claims, window: ReplyWindow, content: str, language: str) -> list[_Part]:
        """Split a text over its own window and as many spare windows of the chat as it needs and are available."""
        splitter = rendering.Splitter(content, language=language)
        parts: list[_Part] = []
        windows = [window]
        with contextlib.suppress(StateUnavailable):
            while not splitter.fits:
                spare = await self._state.claim_window(
                    (window.chat,), None, self._clock.now(), spare_of=window.sender_id
                )
                if spare is None:
                    break
                claims[spare] = self._state.restore_window
                parts.append((windows[-1], splitter.cut()))
                windows.append(spare)
                # A part takes about a millisecond, and the state may have answered without waiting.
                await asyncio.sleep(0)
        return [*parts, (windows[-1], splitter.rest())]

    async def _deliver_parts(self, claims: _Claims, parts: Sequence[_Part], feedback_id: str) -> Receipt:
        """Deliver parts in order until one fails, and restore the windows of the parts after it.

        Once the first part is delivered the reply counts as delivered; parts that are not delivered count as truncated.
        """
        verdict = delivery.EXPIRED
        attempts = sent = 0
        for window, rendered in parts:
            verdict, part_attempts = await self._deliver(
                claims, window, reply.markdown_body(rendered.content, feedback_id=feedback_id)
            )
            attempts += part_attempts
            if verdict.outcome != "delivered":
                break
            sent += 1
        for window, _ in parts[sent + 1 :]:
            await self._record(claims, window, self._state.restore_window)
        if not sent:
            return Receipt(outcome=verdict.outcome, reason=verdict.reason, attempts=attempts)
        unsent_bytes = sum(len(part.content.encode()) for _, part in parts[sent:])
        return Receipt(
            outcome="delivered", attempts=attempts, truncated_bytes=parts[-1][1].truncated_bytes + unsent_bytes
        )

    async def _deliver(self, claims: _Claims, window: ReplyWindow, body: bytes) -> tuple[Verdict, int]:
        """Deliver one body through its window, and restore the window if the text was not delivered.

        A window that may have been used all the same is restored as `repeated`, so that a later reply which finds it
        spent is not counted as refused.

        Return the verdict on the last attempt and the number of attempts.
        """
        verdict = delivery.EXPIRED
        attempts = 0
        delay: float | None = 0.0
        while delay is not None:
            if delay:
                await self._clock.sleep(delay)
            async with self._places:
                seconds_left = window.expires_at - self._clock.now()
                if seconds_left <= 0:
                    break
                attempts += 1
                verdict = await self._attempt(claims, window, body, attempts, seconds_left)
            if not verdict.retry:
                break
            if delivery.may_have_arrived(verdict):
                record = claims.pop(window)
                window = msgspec.structs.replace(window, repeated=True)
                claims[window] = record
            delay = delivery.next_delay(
                attempts, fraction=self._random(), seconds_left=window.expires_at - self._clock.now()
            )
            if delay is not None:
                self._emit(events.AttemptRetried(message_id=window.message_id, attempt=attempts, reason=verdict.reason))
        not_sent = verdict.outcome == "undeliverable"
        await self._record(claims, window, self._state.restore_window if not_sent else self._state.spend_window)
        return verdict, attempts

    async def _attempt(
        self, claims: _Claims, window: ReplyWindow, body: bytes, attempt: int, seconds_left: float
    ) -> Verdict:
        self._emit(events.AttemptStarted(message_id=window.message_id, attempt=attempt, repeated=window.repeated))
        progress = SendProgress()
        timeout_seconds = min(delivery.ATTEMPT_SECONDS, seconds_left)
        failure = detail = ""
        try:
            answer = await self._poster.post(window.url, body, timeout_seconds=timeout_seconds, progress=progress)
            verdict = delivery.judge_answer(*answer)
        except (RequestNotSent, AnswerLost) as error:
            verdict = delivery.judge_failure(error)
            failure, detail = error.reason, str(error)
        except asyncio.CancelledError:
            if progress.left:
                # The reply may have arrived. `StateStore.take_over` opens the window again, marked as repeated.
                del claims[window]
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

    async def _record(self, claims: _Claims, window: ReplyWindow, record: _Record) -> None:
        """Record that a claimed window is spent or restored. A failure is reported and does not change the receipt."""
        claims[window] = record
        try:
            await retry_while_unavailable(
                lambda: record(window, self._clock.now()), self._clock, until=window.expires_at
            )
        except StateUnavailable as unavailable:
            self._emit(events.ReplyNotRecorded(message_id=window.message_id, reason=unavailable.reason))
        del claims[window]


def _chat_keys(message: OutboundMessage) -> tuple[str, ...]:
    """Return the keys of the chats that a message may be for: both kinds unless the host names the kind."""
    single, group = (chat_key(message.chat_id, is_group=is_group) for is_group in (False, True))
    match message.metadata.get("chat_type"):
        case "single":
            return (single,)
        case "group":
            return (group,)
    return single, group
