"""A clock that moves only when a test advances it or the code under test sleeps."""

from __future__ import annotations

import asyncio
import time


class ManualClock:
    """Manual clock of a channel and the simulated WeCom. A sleep advances it at once; `slept` has each duration."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = time.time()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    def offset(self) -> None:
        return None

    def pass_seconds(self, seconds: float) -> None:
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += seconds
        await asyncio.sleep(0)
