"""Waiting, long or not: for a state that is away, so that work in hand outlasts a restart; and for what may hang."""

from __future__ import annotations

import asyncio
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
