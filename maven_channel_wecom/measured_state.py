"""A state whose steps are timed and whose refusals are counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from maven_channel_wecom.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.port import KeptCallback, StateStore

HEALTH_SECONDS: Final = 1.0
"""A disk that hangs must not hang those who ask. Shorter than the host waits for the health of a channel."""

_SILENT: Final = "the state does not answer"

_T = TypeVar("_T")


class MeasuredState:
    """A StateStore on another one. `up` is whether promises could be made when that was last seen."""

    def __init__(self, state: StateStore, metrics: ChannelMetrics, clock: Clock) -> None:
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self.up = True

    async def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        """See StateStore. One whose caller lost patience counts as refused: the state did not answer."""
        try:
            new = await self._measure("admit", self._state.admit(callback, window, now))
        except asyncio.CancelledError:
            self._count_failure("admit", StateUnavailable.reason)
            raise
        # Of all steps the one that is promised: others may succeed while there is no room, or be owed.
        self.up = True
        return new

    def try_admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float, /) -> bool | None:
        """See StateStore. Timed like `admit`, unless it takes waiting: then `admit` is."""
        started = self._clock.now()
        try:
            new = self._state.try_admit(callback, window, now)
        except StateUnavailable as unavailable:
            self._count_failure("admit", unavailable.reason)
            raise
        if new is not None:
            self._metrics.state_seconds["admit"].observe(self._clock.now() - started)
            self.up = True
        return new

    async def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        await self._measure("release", self._state.release(message_id, now))

    async def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        await self._measure("finish", self._state.finish(message_id, now))

    async def unfinished(self, now: float, *, most: int = 1_000) -> list[KeptCallback]:
        """See StateStore."""
        return await self._measure("unfinished", self._state.unfinished(now, most=most))

    async def claim_window(
        self, chat_id: str, reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """See StateStore."""
        claiming = self._state.claim_window(chat_id, reply_to, now, spare_of=spare_of)
        return await self._measure("claim_window", claiming)

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        await self._measure("spend_window", self._state.spend_window(window, now))

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        await self._measure("restore_window", self._state.restore_window(window, now))

    @property
    def open_windows(self) -> int:
        """See StateStore."""
        return self._state.open_windows

    @property
    def expired_windows(self) -> int:
        """See StateStore."""
        return self._state.expired_windows

    async def health(self) -> str | None:
        """See StateStore. A state that does not answer within HEALTH_SECONDS is not healthy."""
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                trouble = await self._state.health()
        except TimeoutError:
            trouble = _SILENT
        self.up = trouble is None
        return trouble

    async def close(self) -> None:
        """See StateStore."""
        await self._state.close()

    async def _measure(self, operation: str, step: Awaitable[_T]) -> _T:
        started = self._clock.now()
        try:
            return await step
        except StateUnavailable as unavailable:
            self._count_failure(operation, unavailable.reason)
            raise
        finally:
            self._metrics.state_seconds[operation].observe(self._clock.now() - started)

    def _count_failure(self, operation: str, reason: str) -> None:
        self.up = False
        self._metrics.count_state_failure(operation, reason)
