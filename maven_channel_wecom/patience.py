"""Waiting, long or not: for a state that is away, so that work in hand outlasts a restart; and for what may hang."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from maven_channel_wecom.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from maven_channel_wecom.clock import Clock

PATIENCE_SECONDS: Final = 300.0
"""Lower: an answer is given up while its database is being restarted. Higher: a hopeless one holds its place longer."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 0.5

_T = TypeVar("_T")


async def keep_trying(step: Callable[[], Awaitable[_T]], clock: Clock) -> _T:
    """Repeat a step of the state until it succeeds. StateUnavailable after PATIENCE_SECONDS without success."""
    try:
        return await step()
    except StateUnavailable:
        until = clock.now() + PATIENCE_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    while True:
        await clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        try:
            return await step()
        except StateUnavailable:
            if clock.now() + pause > until:
                raise


async def in_time(awaitable: Awaitable[_T], seconds: float) -> _T:
    """Await something for at most that long, then TimeoutError.

    What is done at once, as most of what is awaited here, needs no timer: making one costs as much as a message's JSON.
    """
    steps = awaitable.__await__()
    try:
        awaited = next(steps)
    except StopIteration as done:
        result: _T = done.value
        return result
    async with asyncio.timeout(seconds):
        rest: _T = await _Rest(steps, awaited)
        return rest


class TimeLimit:
    """Cancels futures that are not done in time. One timer serves all: making one for each takes 4 µs.

    Args:
        seconds: how long each may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put_on(self, future: asyncio.Future[Any]) -> None:
        """Cancel a future that is not done by then."""
        loop = future.get_loop()
        self._forget_done()
        self._waiting.append((future, loop.time() + self._seconds))
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def _forget_done(self) -> None:
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._waiting[0][1] <= loop.time():
            self._waiting.popleft()[0].cancel()
        self._forget_done()
        self._timer = loop.call_at(self._waiting[0][1], self._look, loop) if self._waiting else None


class _Rest:
    """What remains of something that was begun and waits for `awaited`."""

    def __init__(self, steps: Generator[Any, Any, _T], awaited: Any) -> None:  # noqa: ANN401 - whatever the event loop takes
        self._steps = steps
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        while True:
            try:
                try:
                    yield awaited
                # A cancellation too is for what is awaited.
                except BaseException as error:  # noqa: BLE001
                    awaited = self._steps.throw(error)
                else:
                    awaited = next(self._steps)
            except StopIteration as done:
                return done.value
