"""A clock that a test moves by hand."""


class FakeClock:
    """Stands still until told otherwise; sleeping takes no time but moves it, and is remembered."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now
        self.wall_offset = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time + self.wall_offset

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
