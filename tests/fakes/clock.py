"""A clock that tests move forward themselves."""


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
