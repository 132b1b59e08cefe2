"""Time and sleep, behind an interface that tests can replace."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A source of time, in seconds."""

    def now(self) -> float:
        """Return the steady time in seconds since the epoch, which adjustments of the system clock do not change."""
        ...

    def wall(self) -> float:
        """Return the system clock's seconds since the epoch, only for comparison with other machines' clocks."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        ...


class SystemClock(Clock):
    """The clock of this machine.

    Deadlines are not affected when the system clock is adjusted. A deadline that was stored before a restart is then
    off by the adjustment.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return self._offset + time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
