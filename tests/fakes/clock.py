"""Clocks that tests move forward themselves."""

import asyncio


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


class SteppedClock(FakeClock):
    """A clock whose sleepers wake only once a test has passed their time."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        super().__init__(now)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, woken))
        await woken

    async def pass_seconds(self, seconds: float) -> None:
        """Wake the sleepers of this time in order, each at its own time, and let what they start come to rest."""
        until = self.time + seconds
        await settle()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= until]:
            first = min(due, key=lambda sleeper: sleeper[0])
            self._sleepers.remove(first)
            self.time = max(self.time, first[0])
            if not first[1].done():
                first[1].set_result(None)
            await settle()
        self.time = until
        await settle()


async def settle() -> None:
    """Let other tasks run until they wait for something that takes time."""
    for _ in range(10):
        await asyncio.sleep(0)
