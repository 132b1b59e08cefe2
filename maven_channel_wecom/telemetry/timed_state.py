"""A wrapper of the state that emits the duration and the outcome of each operation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.store import StateStore
from maven_channel_wecom.telemetry.events import StateOperationEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from maven_channel_wecom.errors import StateFailure
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import Admission, StoredCallback, StreamFrame
    from maven_channel_wecom.telemetry.events import Emit, StateOperation

_T = TypeVar("_T")


class TimedState(StateStore):
    """A StateStore that forwards to another one and emits a StateOperationEnded for each operation.

    Args:
        state: the StateStore that performs the operations.
        emit: reports an event.
        now: returns the time in seconds.
    """

    def __init__(self, state: StateStore, emit: Emit, now: Callable[[], float]) -> None:
        self._state = state
        self._emit = emit
        self._now = now
        self.up = True
        """Whether the state was last seen to be available."""

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        new = await self._timed("admit", self._state.admit(batch, now))
        # Other operations may succeed while the state is full, or may be deferred.
        self.up = True
        return new

    async def release(self, message_id: str, now: float) -> bool:
        return await self._timed("release", self._state.release(message_id, now))

    async def finish(self, message_id: str, now: float) -> None:
        await self._timed("finish", self._state.finish(message_id, now))

    async def take_over(self, now: float, *, limit: int = 1_000) -> list[StoredCallback]:
        return await self._timed("take_over", self._state.take_over(now, limit=limit))

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        return await self._timed("claim_window", self._state.claim_window(chats, reply_to, now, spare_of=spare_of))

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        await self._timed("spend_window", self._state.spend_window(window, now))

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        await self._timed("restore_window", self._state.restore_window(window, now))

    @property
    def shared(self) -> bool:
        return self._state.shared

    async def write_frame(self, message_id: str, frame: StreamFrame, now: float) -> None:
        await self._timed("write_frame", self._state.write_frame(message_id, frame, now))

    async def read_frame(self, stream_id: str, chat: str, now: float) -> StreamFrame | None:
        return await self._timed("read_frame", self._state.read_frame(stream_id, chat, now))

    async def confirm_fetch(self, stream_id: str, now: float) -> None:
        await self._timed("confirm_fetch", self._state.confirm_fetch(stream_id, now))

    async def is_fetched(self, message_id: str, now: float) -> bool:
        return await self._timed("is_fetched", self._state.is_fetched(message_id, now))

    async def close_stream(self, message_id: str, now: float) -> bool:
        return await self._timed("close_stream", self._state.close_stream(message_id, now))

    @property
    def open_windows(self) -> int:
        return self._state.open_windows

    @property
    def expired_windows(self) -> int:
        return self._state.expired_windows

    async def health(self) -> str | None:
        problem = await self._state.health()
        self.up = problem is None
        return problem

    async def close(self) -> None:
        await self._state.close()

    async def _timed(self, operation: StateOperation, call: Awaitable[_T]) -> _T:
        failure: StateFailure | None = None
        started = self._now()
        try:
            return await call
        except StateUnavailable as unavailable:
            failure = "state_full" if unavailable.reason == "state_full" else "state"
            raise
        except asyncio.CancelledError:
            # A disk that hangs raises no error; it shows only when an admission times out and is cancelled. Other
            # operations are cancelled for other reasons: the host cancels a reply, or the channel stops.
            failure = "state" if operation == "admit" else None
            raise
        finally:
            self.up = self.up and failure is None
            self._emit(StateOperationEnded(operation=operation, seconds=self._now() - started, failure=failure))
