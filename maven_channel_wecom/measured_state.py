"""A state whose steps are timed and whose refusals are counted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.metrics.series import ChannelMetrics
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.port import KeptCallback, StateStore

_P = ParamSpec("_P")
_T = TypeVar("_T")


class MeasuredState:
    """A StateStore on another one. `up` is whether promises could be made when that was last seen."""

    def __init__(self, state: StateStore, metrics: ChannelMetrics, clock: Clock) -> None:
        self._state = state
        self._metrics = metrics
        self._now = clock.now
        self.up = True
        self._observe_admission = metrics.state_seconds["admit"].observe
        self.release = self._measured("release", state.release)
        self.finish = self._measured("finish", state.finish)
        self.unfinished = self._measured("unfinished", state.unfinished)
        self.claim_window = self._measured("claim_window", state.claim_window)
        self.spend_window = self._measured("spend_window", state.spend_window)
        self.restore_window = self._measured("restore_window", state.restore_window)

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool | Later[bool]:
        """See StateStore. One whose caller lost patience counts as refused: the state did not answer."""
        started = self._now()
        try:
            new = self._state.admit(callback, window, now)
        except StateUnavailable as unavailable:
            self._refused(unavailable.reason, started)
            raise
        if isinstance(new, Later):
            return new.then(partial(self._admitted_later, started))
        self._admitted(started)
        return new

    @property
    def open_windows(self) -> int:
        """See StateStore."""
        return self._state.open_windows

    @property
    def expired_windows(self) -> int:
        """See StateStore."""
        return self._state.expired_windows

    async def health(self) -> str | None:
        """See StateStore."""
        trouble = await self._state.health()
        self.up = trouble is None
        return trouble

    async def close(self) -> None:
        """See StateStore."""
        await self._state.close()

    def _measured(
        self, operation: str, step: Callable[_P, Coroutine[None, None, _T]]
    ) -> Callable[_P, Coroutine[None, None, _T]]:
        now, observe = self._now, self._metrics.state_seconds[operation].observe

        async def measured(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            started = now()
            try:
                return await step(*args, **kwargs)
            except StateUnavailable as unavailable:
                self._count_failure(operation, unavailable.reason)
                raise
            finally:
                observe(now() - started)

        return measured

    def _admitted_later(self, started: float, result: Callable[[], bool]) -> bool:
        try:
            new = result()
        except StateUnavailable as unavailable:
            self._refused(unavailable.reason, started)
            raise
        except TimeoutError:
            self._refused(StateUnavailable.reason, started)
            raise
        self._admitted(started)
        return new

    def _admitted(self, started: float) -> None:
        self._observe_admission(self._now() - started)
        # Of all steps the one that is promised: others may succeed while there is no room, or be owed.
        self.up = True

    def _refused(self, reason: str, started: float) -> None:
        self._observe_admission(self._now() - started)
        self._count_failure("admit", reason)

    def _count_failure(self, operation: str, reason: str) -> None:
        self.up = False
        self._metrics.count_state_failure(operation, reason)
