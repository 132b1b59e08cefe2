"""Delivery of a reply: from markdown, through the stream or the reply window of its message, to a receipt."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from maven_channel_wecom.contract.messages import Receipt
from maven_channel_wecom.egress.egress import SendProgress
from maven_channel_wecom.errors import AnswerLost, RequestNotSent, StateUnavailable
from maven_channel_wecom.fairness import SharedLimit, SharedSemaphore
from maven_channel_wecom.policy import delivery, rendering
from maven_channel_wecom.policy.reply_window import chat_key, may_have_window
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.sentences import ANSWER_EMPTY
from maven_channel_wecom.state.store import retry_while_unavailable
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import Overflow
    from maven_channel_wecom.contract.messages import OutboundMessage
    from maven_channel_wecom.policy.delivery import Verdict
    from maven_channel_wecom.policy.language import Languages
    from maven_channel_wecom.policy.rendering import Rendered
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import StateStore
    from maven_channel_wecom.streams import Streams
    from maven_channel_wecom.telemetry.events import Emit

    _Part = tuple[ReplyWindow, Rendered]
    _Record = Callable[[ReplyWindow, float], Awaitable[None]]

CONCURRENT_POSTS: Final = 100
"""Maximum number of replies of a channel that are being sent at the same time, each on its own connection. The others
wait, as long as their windows are open. Lower: replies wait longer while WeCom is slow. Higher: more open files."""

_NO_STATE: Final = delivery.Verdict("undeliverable", "state")
_SILENT: Final = delivery.Verdict("undeliverable", "silent")
_FETCHED: Final = delivery.Verdict("delivered", "ok")

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


class _Reply(msgspec.Struct):
    """What is known of one reply while it is being sent.

    `chats` are the chats that it may be for, and `held` the ids of the messages whose windows it has claimed so far.
    `claims` are the windows that it still holds and will restore. `sent` is the number of parts that were delivered,
    and `verdict` is that on the last attempt, which ended at `judged_at`.
    """

    message: OutboundMessage
    chats: tuple[str, ...]
    held: set[str] = msgspec.field(default_factory=set)
    claims: set[ReplyWindow] = msgspec.field(default_factory=set)
    is_splitting: bool = False
    parts: list[_Part] = []
    sent: int = 0
    attempts: int = 0
    verdict: Verdict = delivery.EXPIRED
    judged_at: float | None = None

    @property
    def receipt(self) -> Receipt:
        """The receipt. Once a part is delivered the reply counts as delivered; the bytes of the others are lost."""
        if not self.sent:
            return Receipt(outcome=self.verdict.outcome, reason=self.verdict.reason, attempts=self.attempts)
        unsent_bytes = sum(len(part.content.encode()) for _, part in self.parts[self.sent :])
        truncated_bytes = self.parts[-1][1].truncated_bytes + unsent_bytes
        return Receipt(outcome="delivered", attempts=self.attempts, truncated_bytes=truncated_bytes)

    def claim(self, window: ReplyWindow) -> None:
        """Note that this reply has claimed a window."""
        self.held.add(window.message_id)
        self.claims.add(window)

    def repeat(self, window: ReplyWindow) -> ReplyWindow:
        """Return a claimed window marked as repeated, because the reply may have arrived through it."""
        repeated = msgspec.structs.replace(window, repeated=True)
        if window in self.claims:
            self.claims.remove(window)
            self.claims.add(repeated)
        return repeated

    def may_restore(self, message_id: str | None) -> bool:
        """Return whether this reply may hold, and thus restore, the window of a message; None stands for any."""
        mine = self.message.reply_to
        return None in (message_id, mine) or message_id == mine or message_id in self.held or self.is_splitting


class Outbound:
    """Delivers the replies of one channel.

    Args:
        poster: makes requests.
        streams: offers final texts to refreshes.
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
        streams: Streams,
        state: StateStore,
        emit: Emit,
        clock: Clock,
        random: Callable[[], float],
        overflow: Overflow,
        languages: Languages,
        feedback_id: Callable[[str], str] | None,
    ) -> None:
        self._poster = poster
        self._streams = streams
        self._state = state
        self._emit = emit
        self._clock = clock
        self._random = random
        self._overflow = overflow
        self._languages = languages
        self._feedback_id = feedback_id
        self._places = SharedSemaphore((SharedLimit(CONCURRENT_POSTS), 1))
        # The replies in progress, in the order in which they began.
        self._sending: dict[asyncio.Task[Receipt], _Reply] = {}

    async def send(self, message: OutboundMessage) -> Receipt:
        """Deliver a message. Failures of the network, WeCom or the state are reported in the receipt, never raised.

        If the caller is cancelled, the windows through which nothing was delivered are restored, if need be in the
        background. A window through which something may have been sent is restored as `repeated`.
        """
        reply = _Reply(message, _chat_keys(message))
        # In a task that is cancelled once at most, so that what it records afterwards is not interrupted again.
        task = asyncio.create_task(self._send_and_report(reply), name="wecom reply")
        self._sending[task] = reply
        task.add_done_callback(self._sending.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=_CANCELLED_SECONDS)
            raise

    async def _send_and_report(self, reply: _Reply) -> Receipt:
        try:
            await self._send(reply)
        except StateUnavailable:
            reply.verdict = _NO_STATE
        except BaseException:
            # Cancelled. A reply that was not sent does not count: its message can still be answered.
            if reply.receipt.outcome != "undeliverable":
                self._report(reply)
            await self._restore(reply)
            raise
        self._report(reply)
        if reply.claims:
            await _complete(self._restore(reply))
        return reply.receipt

    def _report(self, reply: _Reply) -> None:
        receipt, window = reply.receipt, reply.parts[0][0] if reply.parts else None
        ended_at = self._clock.now() if reply.judged_at is None else reply.judged_at
        seconds = max(0.0, ended_at - window.opened_at) if window else None
        if receipt.outcome == "delivered" and window and seconds is not None and not self._streams.shows_at_once:
            self._emit(events.FirstSignShown(message_id=window.message_id, seconds=seconds))
        self._emit(
            events.ReplyEnded(
                message_id=window.message_id if window else reply.message.reply_to,
                chat_id=reply.message.chat_id,
                outcome=receipt.outcome,
                reason=receipt.reason,
                attempts=receipt.attempts,
                truncated_bytes=receipt.truncated_bytes,
                seconds=seconds,
            )
        )

    async def _send(self, reply: _Reply) -> None:
        """Deliver a reply through a stream, a window, or several of them, in order until one fails."""
        message = reply.message
        if message.metadata.get("silent") == "true":
            reply.verdict = _SILENT
            if message.reply_to is not None:
                self._streams.end(message.reply_to)
            return
        window = await self._claim_window(reply)
        if window is None:
            if message.reply_to is not None:
                # Another process may have taken the message over and answered it.
                self._streams.break_off(message.reply_to)
            return
        reply.claim(window)
        self._emit(events.WindowClaimed(message_id=window.message_id))
        language = message.metadata.get("language") or self._languages.of_person(window.sender_id)
        rendered = rendering.render(message.content, language=language)
        if not rendered.content:
            self._emit(events.PersonExplained(message_id=window.message_id, reason="empty_answer"))
            rendered = rendering.render(ANSWER_EMPTY.text(language))
        if rendered.truncated_bytes and self._overflow == "continue":
            await self._stream_and_split(reply, window, language)
        else:
            await self._stream(reply, window, rendered)
        feedback_id = self._feedback_id(window.message_id) if self._feedback_id else ""
        for part_window, part in reply.parts[reply.sent :]:
            await self._deliver(reply, part_window, markdown_body(part.content, feedback_id=feedback_id))
            if reply.verdict.outcome != "delivered":
                break

    async def _stream(self, reply: _Reply, window: ReplyWindow, part: Rendered) -> None:
        """Offer the first part of a reply to the stream of its message. It counts as sent if a refresh fetches it.

        The message is then answered, so its window is recorded as spent, although the next part may still use it.
        """
        reply.parts = [(window, part)]

        def on_fetched() -> None:
            reply.sent, reply.verdict, reply.judged_at = 1, _FETCHED, self._clock.now()

        try:
            await self._streams.offer(window.message_id, part.content, on_fetched=on_fetched)
        finally:
            if reply.sent:
                await _complete(self._record(reply, window, self._state.spend_window))

    async def _stream_and_split(self, reply: _Reply, window: ReplyWindow, language: str) -> None:
        """Offer the first part of a long text to the stream of its message; split what is left over the windows."""
        splitter = rendering.Splitter(reply.message.content, language=language)
        if splitter.fits:
            # Only white space at the end of the text was too much.
            await self._stream(reply, window, splitter.rest())
            return
        await self._stream(reply, window, splitter.cut())
        if not reply.sent:
            splitter = rendering.Splitter(reply.message.content, language=language)
        await self._split(reply, window, splitter)

    async def _claim_window(self, reply: _Reply) -> ReplyWindow | None:
        reply_to = reply.message.reply_to
        if not may_have_window(reply.message.chat_id, reply_to):
            return None
        # Noted before the claim, because one of them may restore the window while the claim is on its way.
        earlier = self._earlier(reply)
        window = await self._try_claim(reply)
        if window is None and (holders := [task for task, other in earlier if other.may_restore(reply_to)]):
            # One may be about to restore the window, above all if the host has just cancelled it.
            await asyncio.wait(holders)
            window = await self._try_claim(reply)
        return window

    async def _try_claim(self, reply: _Reply) -> ReplyWindow | None:
        return await retry_while_unavailable(
            lambda: self._state.claim_window(reply.chats, reply.message.reply_to, self._clock.now()),
            self._clock,
            # No window that is open now lasts longer.
            until=self._clock.now() + limits.RESPONSE_URL_SECONDS,
        )

    def _earlier(self, reply: _Reply) -> list[tuple[asyncio.Task[Receipt], _Reply]]:
        """Return the replies to the same chats that began before this one and have not ended."""
        before = itertools.takewhile(lambda sending: sending[1] is not reply, self._sending.items())
        return [(task, other) for task, other in before if not set(reply.chats).isdisjoint(other.chats)]

    async def _split(self, reply: _Reply, window: ReplyWindow, splitter: rendering.Splitter) -> None:
        """Split a text over its own window and as many spare windows of the chat as it needs and are available."""
        parts: list[_Part] = reply.parts[: reply.sent]
        windows = [window]
        reply.is_splitting = True
        with contextlib.suppress(StateUnavailable):
            while not splitter.fits:
                spare = await self._state.claim_window(
                    (window.chat,), None, self._clock.now(), spare_of=window.sender_id
                )
                if spare is None:
                    break
                reply.claim(spare)
                parts.append((windows[-1], splitter.cut()))
                windows.append(spare)
                # A part takes about a millisecond, and the state may have answered without waiting.
                await asyncio.sleep(0)
        reply.parts = [*parts, (windows[-1], splitter.rest())]
        reply.is_splitting = False

    async def _deliver(self, reply: _Reply, window: ReplyWindow, body: bytes) -> None:
        """Deliver one body through its window, and restore the window if the text was not delivered.

        A window that may have been used all the same is restored as `repeated`, so that a later reply which finds it
        spent is not counted as refused.
        """
        reply.verdict = delivery.EXPIRED
        attempts = 0
        delay: float | None = 0.0
        while delay is not None:
            if delay:
                await self._clock.sleep(delay)
            async with self._places.hold(window.chat):
                seconds_left = window.expires_at - self._clock.now()
                if seconds_left <= 0:
                    break
                attempts += 1
                reply.attempts += 1
                reply.verdict = await self._attempt(reply, window, body, attempts, seconds_left)
                reply.judged_at = self._clock.now()
            if not reply.verdict.retry:
                break
            if delivery.may_have_arrived(reply.verdict):
                window = reply.repeat(window)
            delay = delivery.next_delay(
                attempts, fraction=self._random(), seconds_left=window.expires_at - self._clock.now()
            )
            if delay is not None:
                self._emit(
                    events.AttemptRetried(message_id=window.message_id, attempt=attempts, reason=reply.verdict.reason)
                )
        if reply.verdict.outcome == "undeliverable":
            return
        reply.sent += reply.verdict.outcome == "delivered"
        await _complete(self._record(reply, window, self._state.spend_window))

    async def _attempt(
        self, reply: _Reply, window: ReplyWindow, body: bytes, number: int, seconds_left: float
    ) -> Verdict:
        progress = SendProgress()
        try:
            return await attempt(
                self._poster,
                self._emit,
                window.url,
                body,
                message_id=window.message_id,
                number=number,
                repeated=window.repeated,
                timeout_seconds=min(delivery.ATTEMPT_SECONDS, seconds_left),
                progress=progress,
            )
        except asyncio.CancelledError:
            if progress.left:
                reply.verdict = delivery.CANCELLED
                reply.repeat(window)
            raise

    async def _restore(self, reply: _Reply) -> None:
        """Restore the windows that a reply still holds."""
        while reply.claims:
            await self._record(reply, next(iter(reply.claims)), self._state.restore_window)

    async def _record(self, reply: _Reply, window: ReplyWindow, record: _Record) -> None:
        """Record that a claimed window is spent or restored. A failure is reported and does not change the receipt."""
        if window not in reply.claims:
            # The stream delivered a part of the reply, and the window is recorded as spent.
            return
        reply.claims.remove(window)
        try:
            await retry_while_unavailable(
                lambda: record(window, self._clock.now()), self._clock, until=window.expires_at
            )
        except StateUnavailable as unavailable:
            self._emit(events.ReplyNotRecorded(message_id=window.message_id, reason=unavailable.reason))


async def attempt(
    poster: Poster,
    emit: Emit,
    url: str,
    body: bytes,
    *,
    message_id: str,
    number: int,
    repeated: bool,
    timeout_seconds: float,
    progress: SendProgress,
) -> Verdict:
    """POST a reply once, report the attempt, and return the verdict on it.

    `number` is 1 for the first attempt, and `repeated` is that of the reply window.
    """
    emit(events.AttemptStarted(message_id=message_id, attempt=number, repeated=repeated))
    failure = detail = ""
    try:
        answer = await poster.post(url, body, timeout_seconds=timeout_seconds, progress=progress)
        verdict = delivery.judge_answer(*answer)
    except (RequestNotSent, AnswerLost) as error:
        verdict = delivery.judge_failure(error)
        failure, detail = error.reason, str(error)
    judged = delivery.judge_repeat(verdict, repeated=repeated)
    emit(
        events.AttemptEnded(
            message_id=message_id,
            attempt=number,
            outcome=judged.outcome,
            errcode=verdict.errcode,
            meaning=delivery.meaning(verdict.errcode) if verdict.errcode else "",
            failure=failure,
            detail=detail,
        )
    )
    return judged


async def _complete(recording: Coroutine[None, None, None]) -> None:
    """Record to the end even if cancelled. A second time would be too late: another reply may hold the window."""
    task = asyncio.create_task(recording)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _chat_keys(message: OutboundMessage) -> tuple[str, ...]:
    """Return the keys of the chats that a message may be for: both kinds unless the host names the kind."""
    single, group = (chat_key(message.chat_id, is_group=is_group) for is_group in (False, True))
    match message.metadata.get("chat_type"):
        case "single":
            return (single,)
        case "group":
            return (group,)
    return single, group
