"""Time and sleep, behind an interface that tests can replace."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class ClockOffset(msgspec.Struct, frozen=True):
    """How many seconds a clock is ahead of the time since the machine was booted, and the id of that boot.

    It is constant. So the offsets of two clocks on the same boot differ by the adjustments of the system clock between
    their creations.
    """

    boot_id: str
    seconds: float


class Clock(Protocol):
    """A source of time, in seconds."""

    def now(self) -> float:
        """Return the steady time in seconds since the epoch, which adjustments of the system clock do not change."""
        ...

    def wall(self) -> float:
        """Return the system clock's seconds since the epoch, only for comparison with other machines' clocks."""
        ...

    def offset(self) -> ClockOffset | None:
        """Return the offset of `now`, or None if this machine has no boot id. It may read a file."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        ...


def _seconds_since_boot() -> float:
    """Return a time that is steady in all processes. On Linux it goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class SystemClock(Clock):
    """The clock of this machine.

    Deadlines are not affected when the system clock is adjusted. A deadline that was stored before a restart is then
    off by the adjustment, which `offset` reveals.

    Args:
        wall: the system clock.
        since_boot: a steady clock that starts with the machine.
        boot_id: a file that contains another text after each boot. It may be missing.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = _seconds_since_boot,
        boot_id: Path = _BOOT_ID,
    ) -> None:
        self._wall = wall
        self._since_boot = since_boot
        self._boot_id = boot_id
        self._offset = wall() - since_boot()

    def now(self) -> float:
        return self._offset + self._since_boot()

    def wall(self) -> float:
        return self._wall()

    def offset(self) -> ClockOffset | None:
        try:
            boot_id = self._boot_id.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return ClockOffset(boot_id, self._offset) if boot_id else None

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
