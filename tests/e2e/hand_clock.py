"""A clock that stands still until a test moves it or somebody sleeps by it."""

from __future__ import annotations

import asyncio
import time


class HandClock:
    """The clock of a channel, and of the WeCom it talks to. `slept` holds the length of every sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = time.time()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    def pass_seconds(self, seconds: float) -> None:
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += seconds
        await asyncio.sleep(0)
