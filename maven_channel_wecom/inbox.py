"""The inbox: the admitted messages in progress, limited in number, published in order within each chat."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import MalformedCallback, StateUnavailable
from maven_channel_wecom.fairness import SharedLimit
from maven_channel_wecom.media import MediaUse
from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import EVENT, is_message, read_callback
from maven_channel_wecom.state.store import retry_while_unavailable
from maven_channel_wecom.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.media import MediaBudget
    from maven_channel_wecom.protocol.callback import Callback
    from maven_channel_wecom.state.store import StateStore, StoredCallback
    from maven_channel_wecom.streams import Streams
    from maven_channel_wecom.telemetry.events import Emit, MessageOutcome

LATE_SECONDS: Final = 60.0
"""Age at which a message in progress is reported as late, in seconds. Lower: agents that are merely slow are reported.
Higher: the engineer on call learns later of an agent that hangs."""

NORMALIZE_SECONDS: Final = limits.MEDIA_URL_SECONDS + 30.0
"""Maximum time to normalize a message, in seconds. Media are fetched or expired before that. Without a limit, a plugin
that hangs would block its chat and fill the inbox."""


class AdmittedCallback(msgspec.Struct, frozen=True):
    """The callback that a channel passes to `maven_inbound_normalize`. `received_at` is in seconds since the epoch.

    `is_explained` is whether its acknowledgement told the sender that it holds nothing for the agent.
    """

    callback: Callback
    received_at: float
    media_use: MediaUse
    is_explained: bool = False


FIRST_RETRY_SECONDS: Final = 5.0
"""Delay after which a message is processed again when its processing has failed, in seconds. It doubles with each
failure. Lower: a host that needs a moment costs more turns of the agent. Higher: its users wait longer."""

LONGEST_RETRY_SECONDS: Final = 300.0
"""Maximum of that delay, in seconds. Lower: a message that always fails costs more turns of the agent. Higher: after a
long failure of the host, users wait longer."""


class _PendingMessage(msgspec.Struct, eq=False):
    """A message in progress. `previous` is the message of its chat to be published before it, None if there is none."""

    admitted: AdmittedCallback
    previous: _PendingMessage | None
    published: asyncio.Event


class _FailedMessage(msgspec.Struct):
    """A message whose processing failed. `retry_at` is None once it was released, to be taken over like others."""

    received_at: float
    failures: int
    retry_at: float | None


class Inbox:
    """Normalizes, publishes and finishes admitted messages, each in a task of its own.

    Messages of one chat are published in the order in which they were put in, even if the media of an earlier one take
    longer. A message waits only until the one before it is published, not until the host has dealt with that one.

    A message whose processing fails stays in the state without taking a place, and is processed again, with growing
    delays, until its reply window ends. Then it is out of order, and no other message waits for it.

    Args:
        limit: maximum number of messages in progress. A chat may use at most as many places as are free.
        normalize: converts a callback into a message, or returns None if it holds nothing for the agent.
        publish: hands a message to the host, and returns when the host has dealt with it.
        explain: answers a message that holds nothing for the agent.
        apologize: answers a message that is given up.
        streams: holds the streams of messages, which end with their processing.
        report_event: tells the host of an event.
        media_budget: counts the bytes that the media of a message use until it is finished.
        state: stores callbacks until they are finished.
        emit: receives telemetry events.
        clock: the clock of the channel.
    """

    def __init__(
        self,
        *,
        limit: int,
        normalize: Callable[[AdmittedCallback], Awaitable[InboundMessage | None]],
        publish: Callable[[InboundMessage], Awaitable[None]],
        explain: Callable[[Callback], Awaitable[None]],
        apologize: Callable[[Callback], Awaitable[None]],
        streams: Streams,
        report_event: Callable[[AdmittedCallback], Awaitable[None]],
        media_budget: MediaBudget,
        state: StateStore,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._limit = limit
        self._places = SharedLimit(limit)
        self._normalize = normalize
        self._publish = publish
        self._explain = explain
        self._apologize = apologize
        self._streams = streams
        self._report_event = report_event
        self._media_budget = media_budget
        self._state = state
        self._emit = emit
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # In the order in which messages were put in.
        self._tasks: dict[_PendingMessage, asyncio.Task[None]] = {}
        # The newest unpublished message of each chat.
        self._newest: dict[str, _PendingMessage] = {}
        # Messages whose end the state could not record, in the order of their ends.
        self._unrecorded: dict[str, None] = {}
        self._failed: dict[str, _FailedMessage] = {}
        self._drained = False
        self._reported_late: AdmittedCallback | None = None
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another message."""
        return self._places.free <= 0

    def hold_place(self, callback: Callback) -> bool:
        """Hold a place for a message about to be admitted; return False if its chat already uses its share of them."""
        chat = _chat(callback)
        if not self._places.allows(chat):
            return False
        self._places.reserve(chat)
        return True

    def release_place(self, callback: Callback) -> None:
        """Release the place that a message held or used."""
        self._places.release(_chat(callback))
        self._changed.set()

    def put(self, callback: Callback, received_at: float, *, held: bool = False, is_explained: bool = False) -> None:
        """Start processing an admitted message. After a drain it stays in the state instead.

        `received_at` is in seconds since the epoch. `held` is whether a place is held for the message, which it takes.
        `is_explained` is whether its acknowledgement told the sender that it holds nothing for the agent.
        """
        if self._drained:
            if held:
                self.release_place(callback)
            return
        chat = _chat(callback)
        admitted = AdmittedCallback(callback, received_at, MediaUse(chat), is_explained)
        pending = _PendingMessage(admitted, None, asyncio.Event())
        if not held:
            self._places.reserve(chat)
        # A plugin may hang on a message whenever it is processed. It delays its chat only the first time.
        if callback.type != EVENT and callback.message_id not in self._failed:
            pending.previous = self._newest.get(chat)
            self._newest[chat] = pending
        self._tasks[pending] = self._loop.create_task(self._process(pending), name="wecom message")

    async def recover(self) -> None:
        """Process failed messages and those left by processes that died, oldest first, until the inbox is half full.

        Events, callbacks that this version cannot read, and messages too old to be answered are finished instead.
        Ends that could not be recorded earlier are recorded first.

        Raises:
            StateUnavailable: the state cannot return unfinished callbacks, or cannot record an end.
        """
        try:
            await self._release_failed()
        finally:
            await self._record_ends()
        while limit := max(0, max(1, self._limit // 2) - self._places.used):
            now = self._clock.now()
            unfinished = await self._state.take_over(now, limit=limit)
            if not unfinished:
                return
            skipped = 0
            for stored in unfinished:
                callback = _read_message(stored)
                if callback is None or _window_end(stored) <= now:
                    skipped += 1
                    self._unrecorded[stored.message_id] = None
                else:
                    self._emit(events.MessageRecovered(message_id=stored.message_id, type=callback.type))
                    self.put(callback, stored.received_at)
            self._emit(events.MessagesRecovered(messages=len(unfinished) - skipped, skipped=skipped))
            await self._record_ends()

    async def drain(self, seconds: float) -> int:
        """Wait up to `seconds` for all messages in progress, cancel the rest, and return how many were cancelled.

        Messages for which a place is held are waited for too, because they may already be in the state.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._places.used:
                    self._changed.clear()
                    await self._changed.wait()
        self._drained = True
        left = list(self._tasks.values())
        self._tasks.clear()
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    def oldest_seconds(self) -> float:
        """Return the age of the oldest message in progress in seconds, 0 if there is none."""
        oldest = self._oldest()
        return 0.0 if oldest is None else max(0.0, self._clock.now() - oldest.received_at)

    def report_late(self) -> None:
        """Emit MessageLate for the oldest message in progress if it is late and was not reported yet."""
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
        # A recovered message may be older than those put in before it.
        in_progress = (pending.admitted for pending in self._tasks)
        return min(in_progress, key=lambda admitted: admitted.received_at, default=None)

    async def _process(self, pending: _PendingMessage) -> None:
        callback = pending.admitted.callback
        try:
            if callback.type == EVENT:
                await self._report_event(pending.admitted)
            else:
                await self._deliver(pending)
                self._streams.end(callback.message_id)
            await self._finish(pending.admitted)
        except asyncio.CancelledError:
            if _is_task_cancelled():
                raise
            await self._fail(pending.admitted, "CancelledError")
        except Exception as error:  # noqa: BLE001 - an error of the host or a wrapping plugin affects this message only
            await self._fail(pending.admitted, type(error).__name__)
        finally:
            self._let_next_publish(pending)
            self._media_budget.release(pending.admitted.media_use)
            self._tasks.pop(pending, None)
            self.release_place(callback)

    async def _deliver(self, pending: _PendingMessage) -> None:
        """Normalize a message, publish it after the one before it, and return when the host has dealt with it."""
        callback = pending.admitted.callback
        try:
            async with asyncio.timeout(NORMALIZE_SECONDS):
                message = await self._normalize(pending.admitted)
        finally:
            # A failed message waits too, because the next one of the chat waits for this one only. The next one cannot
            # overtake: its task resumes in the next loop iteration at the earliest, after this one called publish.
            if pending.previous is not None:
                await pending.previous.published.wait()
                pending.previous = None
            self._let_next_publish(pending)
        blocks = len(message.content_blocks) if message else 0
        self._emit(events.MessageNormalized(message_id=callback.message_id, blocks=blocks))
        if message is None or pending.admitted.is_explained:
            if not pending.admitted.is_explained:
                await self._explain(callback)
            self._emit_end(callback, "unsupported")
            return
        self._emit(events.MessagePublishing(message_id=callback.message_id))
        await self._publish(message)
        self._emit_end(callback, "published")

    def _let_next_publish(self, pending: _PendingMessage) -> None:
        pending.published.set()
        chat = _chat(pending.admitted.callback)
        if self._newest.get(chat) is pending:
            del self._newest[chat]

    async def _fail(self, admitted: AdmittedCallback, reason: str) -> None:
        """Arrange that a message is processed again, or finish it if its window will have ended by then."""
        callback = admitted.callback
        self._emit_end(callback, "failed", reason)
        earlier = self._failed.get(callback.message_id)
        failures = earlier.failures + 1 if earlier else 1
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** (failures - 1), LONGEST_RETRY_SECONDS)
        retry_at = self._clock.now() + delay
        if retry_at < _window_end(admitted):
            self._failed[callback.message_id] = _FailedMessage(admitted.received_at, failures, retry_at)
        else:
            self._emit(events.MessageGivenUp(message_id=callback.message_id, failures=failures))
            await self._apologize(callback)
            self._streams.end(callback.message_id)
            await self._finish(admitted)

    async def _release_failed(self) -> None:
        """Release failed messages whose delay is over, and finish those whose window has ended."""
        now = self._clock.now()
        for message_id, failed in list(self._failed.items()):
            if _window_end(failed) <= now:
                self._failed.pop(message_id, None)
                if failed.retry_at is not None:
                    self._emit(events.MessageGivenUp(message_id=message_id, failures=failed.failures))
                    self._unrecorded[message_id] = None
            elif failed.retry_at is not None and failed.retry_at <= now and await self._state.release(message_id, now):
                failed.retry_at = None
                self._streams.release(message_id)

    async def _finish(self, admitted: AdmittedCallback) -> None:
        """Record the end of a message. If the state stays unavailable, `recover` tries again later."""
        message_id = admitted.callback.message_id
        self._failed.pop(message_id, None)
        try:
            await retry_while_unavailable(
                lambda: self._state.finish(message_id, self._clock.now()), self._clock, until=_window_end(admitted)
            )
        except StateUnavailable as unavailable:
            self._unrecorded[message_id] = None
            self._emit(events.MessageNotRecorded(message_id=message_id, reason=unavailable.reason))

    async def _record_ends(self) -> None:
        """Record ends of messages that could not be recorded before."""
        while self._unrecorded:
            message_id = next(iter(self._unrecorded))
            await self._state.finish(message_id, self._clock.now())
            self._unrecorded.pop(message_id, None)

    def _emit_end(self, callback: Callback, outcome: MessageOutcome, reason: str = "") -> None:
        self._emit(
            events.MessageEnded(message_id=callback.message_id, type=callback.type, outcome=outcome, reason=reason)
        )


def _chat(callback: Callback) -> str:
    return chat_key(callback.chat_id, is_group=callback.is_group)


def _window_end(message: AdmittedCallback | StoredCallback | _FailedMessage) -> float:
    """Return the time after which a message cannot be answered any more."""
    return message.received_at + limits.RESPONSE_URL_SECONDS


def _read_message(stored: StoredCallback) -> Callback | None:
    try:
        callback = read_callback(stored.message)
    except MalformedCallback:
        return None
    return callback if is_message(callback.type) else None


def _is_task_cancelled() -> bool:
    """Return whether this task itself was cancelled, rather than something it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
