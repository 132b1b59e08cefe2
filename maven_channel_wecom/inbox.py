"""The admitted messages in progress: bounded, each chat in order, no chat waiting for another."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from maven_channel_wecom.errors import MalformedCallback, StateUnavailable
from maven_channel_wecom.media import MediaUse
from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import EVENT, MESSAGE_TYPES, read_callback
from maven_channel_wecom.state.store import retry_while_unavailable
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.media import MediaBudget
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.state.store import StateStore, StoredCallback
    from maven_channel_wecom.telemetry.events import Emit

    _Step = Callable[[str, float], Awaitable[None]]
    """Records in the state that the message of an id ended, at a time."""

LATE_SECONDS: Final = 60.0
"""The objective for an answer. Lower: agents that think are reported; higher: whoever is on call hears of it later."""

NORMALIZE_SECONDS: Final = limits.MEDIA_URL_SECONDS + 30.0
"""Media end before that. Without a limit a plugin that hangs would stop its chat, and fill the inbox."""


class AdmittedCallback(msgspec.Struct, frozen=True):
    """What a channel hands to `maven_inbound_normalize`. `received_at` is in seconds since the epoch."""

    callback: Callback
    received_at: float
    media_use: MediaUse = msgspec.field(default_factory=MediaUse)


class _Work(msgspec.Struct, eq=False):
    """A message in progress. `previous` is the one of its chat that must be published first, None if there is none."""

    admitted: AdmittedCallback
    previous: _Work | None
    published: asyncio.Event


class Inbox:
    """Normalizes, publishes and finishes each admitted message, in one task.

    Messages of one chat are published in the order they came, however long the media of each took; publishing one does
    not wait until the host has dealt with the one before.

    Args:
        limit: how many messages may be in progress.
        normalize: turns a callback into a message; None when there is nothing to say.
        publish: hands a message to the host, and returns when the host has dealt with it.
        media_budget: where a message releases what its media use.
        state: where finished callbacks are forgotten, and unfinished ones are found.
        emit: reports what happened.
        clock: the channel's.
    """

    def __init__(
        self,
        *,
        limit: int,
        normalize: Callable[[AdmittedCallback], Awaitable[InboundMessage | None]],
        publish: Callable[[InboundMessage], Awaitable[None]],
        media_budget: MediaBudget,
        state: StateStore,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._limit = limit
        self._normalize = normalize
        self._publish = publish
        self._media_budget = media_budget
        self._state = state
        self._emit = emit
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # In the order they were put in.
        self._work: dict[_Work, asyncio.Task[None]] = {}
        # The newest message of each chat that is not published.
        self._newest: dict[str, _Work] = {}
        self._held_places = 0
        # Ends of messages that the state could not record, by message id.
        self._unrecorded: dict[str, _Step] = {}
        self._drained = False
        self._reported_late: AdmittedCallback | None = None
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._work)

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another message."""
        return len(self._work) + self._held_places >= self._limit

    def hold_place(self) -> None:
        """Hold a place for a message that is about to be admitted."""
        self._held_places += 1

    def release_place(self) -> None:
        """Release a place that was held."""
        self._held_places -= 1
        self._changed.set()

    def put(self, admitted: AdmittedCallback) -> None:
        """Start work on a message. One that comes after a drain stays in the state, like those the drain ended."""
        if self._drained:
            return
        work = _Work(admitted, None, asyncio.Event())
        if admitted.callback.type != EVENT:
            chat = _chat(admitted.callback)
            work.previous = self._newest.get(chat)
            self._newest[chat] = work
        self._work[work] = self._loop.create_task(self._process(work), name="wecom message")

    async def recover(self) -> None:
        """Work on messages of processes that died, oldest first. They take at most half of the places.

        Events, what this version cannot read, and what nobody could be answered any more are finished instead.

        Raises:
            StateUnavailable: the state cannot say what there is, or not record an end.
        """
        await self._record_ends()
        while most := max(0, max(1, self._limit // 2) - len(self._work) - self._held_places):
            now = self._clock.now()
            unfinished = await self._state.take_over(now, most=most)
            if not unfinished:
                return
            over = 0
            for stored in unfinished:
                callback = _read_message(stored)
                if callback is None or stored.received_at + limits.RESPONSE_URL_SECONDS <= now:
                    over += 1
                    self._unrecorded[stored.message_id] = self._state.finish
                else:
                    self._emit(events.MessageRecovered(message_id=stored.message_id, type=callback.type))
                    self.put(AdmittedCallback(callback, stored.received_at))
            self._emit(events.MessagesRecovered(messages=len(unfinished) - over, over=over))
            await self._record_ends()

    async def drain(self, seconds: float) -> int:
        """Wait until all work is done, at most that long, then end the rest; return how many were left.

        Held places are waited for too: their messages may be in the state already.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._work or self._held_places:
                    self._changed.clear()
                    await self._changed.wait()
        self._drained = True
        left = list(self._work.values())
        self._work.clear()
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    def oldest_seconds(self) -> float:
        """Return the age of the oldest message in progress, 0 when there is none."""
        oldest = self._oldest()
        return 0.0 if oldest is None else max(0.0, self._clock.now() - oldest.received_at)

    def report_late(self) -> None:
        """Report the oldest message in progress when it is late, once: an agent that hangs says nothing."""
        oldest, seconds = self._oldest(), self.oldest_seconds()
        if oldest is None or oldest is self._reported_late or seconds < LATE_SECONDS:
            return
        self._reported_late = oldest
        callback = oldest.callback
        self._emit(
            events.MessageLate(
                message_id=callback.message_id, chat_id=callback.chat_id, type=callback.type, seconds=seconds
            )
        )

    def _oldest(self) -> AdmittedCallback | None:
        # Not the first one put in: a message that was recovered may be older than all others.
        in_progress = (work.admitted for work in self._work)
        return min(in_progress, key=lambda admitted: admitted.received_at, default=None)

    async def _process(self, work: _Work) -> None:
        callback = work.admitted.callback
        try:
            if callback.type != EVENT:
                await self._deliver(work)
            await self._record(callback, self._state.finish)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            await self._fail(callback, "CancelledError")
        except Exception as error:  # noqa: BLE001 - whatever a host or a wrapping plugin raises costs this message alone
            await self._fail(callback, type(error).__name__)
        finally:
            self._let_next_publish(work)
            self._media_budget.release(work.admitted.media_use)
            self._work.pop(work, None)
            self._changed.set()

    async def _deliver(self, work: _Work) -> None:
        """Normalize a message, publish it in its turn, and return when the host has dealt with it."""
        callback = work.admitted.callback
        try:
            async with asyncio.timeout(NORMALIZE_SECONDS):
                message = await self._normalize(work.admitted)
        finally:
            # Also when it failed: the next message of the chat waits for this one alone, and is published in the next
            # iteration of the loop or later, so the order holds.
            if work.previous is not None:
                await work.previous.published.wait()
                work.previous = None
            self._let_next_publish(work)
        blocks = len(message.content_blocks) if message else 0
        self._emit(events.MessageNormalized(message_id=callback.message_id, blocks=blocks))
        if message is None:
            self._emit_end(callback, "unsupported")
            return
        self._emit(events.MessagePublishing(message_id=callback.message_id))
        await self._publish(message)
        self._emit_end(callback, "published")

    def _let_next_publish(self, work: _Work) -> None:
        work.published.set()
        chat = _chat(work.admitted.callback)
        if self._newest.get(chat) is work:
            del self._newest[chat]

    async def _fail(self, callback: Callback, reason: str) -> None:
        self._emit_end(callback, "failed", reason)
        await self._record(callback, self._state.release)

    async def _record(self, callback: Callback, step: _Step) -> None:
        """Record the end of a message; one that cannot be recorded now is tried again by `recover`."""
        try:
            await retry_while_unavailable(lambda: step(callback.message_id, self._clock.now()), self._clock)
        except StateUnavailable as unavailable:
            self._unrecorded[callback.message_id] = step
            self._emit(events.MessageNotRecorded(message_id=callback.message_id, reason=unavailable.reason))

    async def _record_ends(self) -> None:
        """Record the ends that could not be recorded before."""
        while self._unrecorded:
            message_id, step = next(iter(self._unrecorded.items()))
            await step(message_id, self._clock.now())
            self._unrecorded.pop(message_id, None)

    def _emit_end(
        self, callback: Callback, outcome: Literal["published", "unsupported", "failed"], reason: str = ""
    ) -> None:
        self._emit(
            events.MessageEnded(message_id=callback.message_id, type=callback.type, outcome=outcome, reason=reason)
        )


def _chat(callback: Callback) -> str:
    return chat_key(callback.chat_id, is_group=callback.is_group)


def _read_message(stored: StoredCallback) -> Callback | None:
    try:
        callback = read_callback(stored.message)
    except MalformedCallback:
        return None
    return callback if callback.type in MESSAGE_TYPES else None


def _is_being_cancelled() -> bool:
    """Tell whether somebody cancelled this task, and not only something it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
