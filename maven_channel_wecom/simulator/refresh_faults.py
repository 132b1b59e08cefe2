"""Scripted faults of the refreshes with which WeCom asks for the newest frame of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True)
class OutgoingRefresh:
    """One refresh before it is sent.

    `ask` sends it and shows the frame in its answer. `send` sends it and drops the answer. `cut` sends a part of it and
    resets the connection. `sleep` waits for a number of seconds.
    """

    ask: Callable[[], Awaitable[None]]
    send: Callable[[], Awaitable[object]]
    cut: Callable[[], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]


class RefreshFault(Protocol):
    """A fault of one refresh, played by calling it."""

    async def __call__(self, refresh: OutgoingRefresh) -> None:
        """Play the fault instead of sending the refresh."""
        ...


@dataclass(frozen=True)
class LostAnswer:
    """A refresh whose answer the bot wrote and WeCom never got."""

    async def __call__(self, refresh: OutgoingRefresh) -> None:
        await refresh.send()


@dataclass(frozen=True)
class RepeatedRefresh:
    """A refresh that is sent twice, the second time in a new envelope, as WeCom repeats a callback (100719)."""

    async def __call__(self, refresh: OutgoingRefresh) -> None:
        await refresh.ask()
        await refresh.ask()


@dataclass(frozen=True)
class LateRefresh:
    """A refresh that is sent `seconds` later than it is due."""

    seconds: float

    async def __call__(self, refresh: OutgoingRefresh) -> None:
        await refresh.sleep(self.seconds)
        await refresh.ask()


@dataclass(frozen=True)
class CutRefresh:
    """A refresh whose connection is reset in the middle of the request, so that it never reaches the bot."""

    async def __call__(self, refresh: OutgoingRefresh) -> None:
        await refresh.cut()
