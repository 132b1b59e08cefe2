"""Clocks that tests move forward themselves."""

import asyncio
import heapq


class FakeClock:
    """A clock whose time only changes when a test sets it or code sleeps. A sleep returns at once and is recorded."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now
        self.wall_offset = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time + self.wall_offset

    def offset(self) -> None:
        return None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class SuspendingClock(FakeClock):
    """A clock whose sleeps suspend the caller once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await super().sleep(seconds)


class SteppedClock(FakeClock):
    """A clock whose sleepers wake only once a test has passed their time."""

    def __init__(self) -> None:
        super().__init__()
        # A heap; the number keeps sleepers of the same time in the order in which they fell asleep.
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, len(self.slept), woken))
        await woken

    async def pass_seconds(self, seconds: float) -> None:
        """Wake the sleepers of this time in order, those of one moment together, and let what they start settle."""
        until = self.time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self.time = max(self.time, self._sleepers[0][0])
            while self._sleepers and self._sleepers[0][0] <= self.time:
                _, _, woken = heapq.heappop(self._sleepers)
                if not woken.done():
                    woken.set_result(None)
            await settle()
        self.time = until
        await settle()


async def settle() -> None:
    """Let other tasks run until they wait for something that takes time."""
    for _ in range(10):
        await asyncio.sleep(0)
