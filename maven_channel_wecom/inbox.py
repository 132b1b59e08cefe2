"""The admitted messages in hand: bounded, each chat in order, no chat waiting for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.media_room import MediaShare
from maven_channel_wecom.patience import in_time, keep_trying
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.trail import Trail, pseudonym

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.media_room import MediaRoom
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.state.port import StateStore

logger = logging.getLogger(__name__)

LATE_SECONDS: Final = 60.0
"""The objective for an answer. Lower: agents that think are told on; higher: whoever is on call hears of it later."""

NORMALIZE_SECONDS: Final = limits.MEDIA_URL_SECONDS + 30.0
"""Media end by themselves before that. Without a limit a plugin that hangs would stop its chat, and fill the inbox."""


class AdmittedCallback(msgspec.Struct, frozen=True):
    """What a channel hands to `maven_inbound_normalize`. `received_at` is in seconds since the epoch."""

    callback: Callback
    received_at: float
    media_share: MediaShare = msgspec.field(default_factory=MediaShare)


class _Work(msgspec.Struct, eq=False):
    """A message in hand, and its place in the line of its chat.

    `before` must be handed over first; None when there is none any more. `waiting` is of the one behind it, which
    seldom comes while it waits.
    """

    admitted: AdmittedCallback
    before: _Work | None
    handed_over: bool = False
    waiting: asyncio.Future[None] | None = None

    def hand_over(self) -> None:
        """Let the one behind it go."""
        self.handed_over = True
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    async def wait(self) -> None:
        """Wait until it is handed over; one other may."""
        if not self.handed_over:
            self.waiting = asyncio.get_running_loop().create_future()
            await self.waiting


class Inbox:
    """Carries each admitted callback through normalizing and publishing, and finishes it in the state.

    Messages of one chat are published in the order they came, however long the media of each took; publishing one does
    not wait until the host has dealt with the one before.

    Args:
        channel: the name of the channel.
        limit: how many messages may be in hand.
        normalize: turns a callback into a message; None when there is nothing to say.
        publish: hands a message to the host, and returns when the host has dealt with it.
        media_room: where a message gives back what its media took up.
        state: where finished callbacks are forgotten.
        metrics: the channel's.
        clock: the channel's.
    """

    def __init__(
        self,
        channel: str,
        *,
        limit: int,
        normalize: Callable[[AdmittedCallback], Awaitable[InboundMessage | None]],
        publish: Callable[[InboundMessage], Coroutine[None, None, None]],
        media_room: MediaRoom,
        state: StateStore,
        metrics: ChannelMetrics,
        clock: Clock,
    ) -> None:
        self._trail = Trail(channel, logger)
        self._limit = limit
        self._normalize = normalize
        self._publish = publish
        self._media_room = media_room
        self._state = state
        self._metrics = metrics
        self._clock = clock
        # Asked for each time it costs a system call on Python 3.11.
        self._loop = asyncio.get_running_loop()
        self._reserved = 0
        # In the order they were put in.
        self._work: dict[_Work, asyncio.Task[None]] = {}
        self._drained = False
        self._told_late: AdmittedCallback | None = None
        self._done = asyncio.Event()
        # The last one in the line of each chat.
        self._tails: dict[str, _Work] = {}

    def __len__(self) -> int:
        return len(self._work)

    def oldest_seconds(self) -> float:
        """Return the age of the message longest in hand, 0 when there is none."""
        oldest = self._oldest()
        return 0.0 if oldest is None else max(0.0, self._clock.now() - oldest.received_at)

    def tell_late(self) -> None:
        """Log the message longest in hand when it is late, once: an agent that hangs says nothing."""
        oldest, seconds = self._oldest(), self.oldest_seconds()
        if oldest is None or oldest is self._told_late or seconds < LATE_SECONDS:
            return
        self._told_late = oldest
        callback = oldest.callback
        facts = {"chat": pseudonym(callback.chat_id), "type": callback.type, "seconds": round(seconds)}
        self._trail.step(logging.WARNING, "wecom message late", callback.message_id, **facts)

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another message."""
        return len(self._work) + self._reserved >= self._limit

    def reserve(self) -> None:
        """Hold a place for a message about to be admitted."""
        self._reserved += 1

    def places_for_old_messages(self) -> int:
        """Return how many messages of earlier processes may be put in: they leave half of the places to new ones."""
        return max(0, max(1, self._limit // 2) - len(self._work) - self._reserved)

    def give_back(self) -> None:
        """Give a reserved place back."""
        self._reserved -= 1
        self._done.set()

    def put(self, admitted: AdmittedCallback) -> None:
        """Start work on a message. One that comes after a drain stays in the state, like those the drain ended."""
        if self._drained:
            return
        chat_id = admitted.callback.chat_id
        work = _Work(admitted, self._tails.get(chat_id))
        self._tails[chat_id] = work
        self._work[work] = self._loop.create_task(self._carry(work), name="wecom message")

    async def drain(self, seconds: float) -> int:
        """Wait until all work is done, at most that long, then end the rest; return how many were left.

        Work for which a place was held before is waited for too: its message may be in the state already.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._work or self._reserved:
                    self._done.clear()
                    await self._done.wait()
        self._drained = True
        left = list(self._work.values())
        self._work.clear()
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    def _oldest(self) -> AdmittedCallback | None:
        # Not the first one put in: what is taken over from another process may be older than all.
        in_hand = (work.admitted for work in self._work)
        return min(in_hand, key=lambda admitted: admitted.received_at, default=None)

    async def _carry(self, work: _Work) -> None:
        callback = work.admitted.callback
        try:
            message = await self._message(work)
            # Those behind it are called no sooner than at their next turn of the loop, so the host is called in order.
            self._leave_line(work)
            if message is not None:
                self._trail.step(logging.DEBUG, "wecom message published", callback.message_id)
                await self._publish(message)
            outcome = "unsupported" if message is None else "published"
            self._metrics.count_inbound_message(callback.type, outcome)
            await keep_trying(lambda: self._state.finish(callback.message_id, self._clock.now()), self._clock)
            self._trail.step(logging.DEBUG, "wecom message finished", callback.message_id, outcome=outcome)
        except StateUnavailable as unavailable:
            self._log_failure(callback, unavailable.reason)
        except asyncio.CancelledError:
            if _is_being_ended():
                raise
            await self._fail(callback, "CancelledError")
        except Exception as error:  # noqa: BLE001 - whatever a host or a wrapping plugin raises costs this message alone
            await self._fail(callback, type(error).__name__)
        finally:
            if not work.handed_over:
                self._leave_line(work)
            self._media_room.leave(work.admitted.media_share)
            self._work.pop(work, None)
            self._done.set()

    async def _message(self, work: _Work) -> InboundMessage | None:
        try:
            message = await in_time(self._normalize(work.admitted), NORMALIZE_SECONDS)
        finally:
            # Also when it failed: those behind it wait for this one alone.
            if work.before is not None:
                await work.before.wait()
                work.before = None
        blocks = len(message.content_blocks) if message else 0
        self._trail.step(logging.DEBUG, "wecom message normalized", work.admitted.callback.message_id, blocks=blocks)
        return message

    def _leave_line(self, work: _Work) -> None:
        work.hand_over()
        chat_id = work.admitted.callback.chat_id
        if self._tails.get(chat_id) is work:
            del self._tails[chat_id]

    async def _fail(self, callback: Callback, reason: str) -> None:
        self._log_failure(callback, reason)
        self._metrics.count_inbound_message(callback.type, "failed")
        try:
            await keep_trying(lambda: self._state.release(callback.message_id, self._clock.now()), self._clock)
        except StateUnavailable as unavailable:
            self._log_failure(callback, unavailable.reason)

    def _log_failure(self, callback: Callback, reason: str) -> None:
        self._trail.step(logging.ERROR, "wecom message failed", callback.message_id, reason=reason)


def _is_being_ended() -> bool:
    """Tell whether somebody cancelled this task, and not only something it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
