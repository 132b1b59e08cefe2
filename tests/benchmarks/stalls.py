"""How long an event loop was away at the worst."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PAUSE_SECONDS = 0.001


@dataclass
class Stall:
    """The longest time by which a wake-up was late, and the most that was computed before one, so far."""

    longest_seconds: float = 0.0
    computed_seconds: float = 0.0
    """By the loop's own thread: what is above it in the other, other programs had the core for."""

    def begin_anew(self) -> None:
        """Forget what was found."""
        self.longest_seconds = self.computed_seconds = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Stall]:
    """Wake up every millisecond, and note how late that was, and what was computed meanwhile."""
    stall = Stall()

    async def watch() -> None:
        while True:
            began, computed = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_PAUSE_SECONDS)
            stall.longest_seconds = max(stall.longest_seconds, time.perf_counter() - began - _PAUSE_SECONDS)
            stall.computed_seconds = max(stall.computed_seconds, time.thread_time() - computed)

    watching = asyncio.create_task(watch())
    try:
        yield stall
    finally:
        watching.cancel()
