"""Waiting for a state that is away: work in hand outlasts a restart of its database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from maven_channel_wecom.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.clock import Clock

PATIENCE_SECONDS: Final = 300.0
"""Lower: an answer is given up while its database is being restarted. Higher: a hopeless one holds its place longer."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 0.5

_T = TypeVar("_T")


async def keep_trying(step: Callable[[], Awaitable[_T]], clock: Clock) -> _T:
    """Repeat a step of the state until it succeeds. StateUnavailable after PATIENCE_SECONDS without success."""
    until = clock.now() + PATIENCE_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await step()
        except StateUnavailable:
            if clock.now() + pause > until:
                raise
        await clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
