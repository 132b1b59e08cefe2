"""Measures the longest stall of an event loop."""

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
    """The longest delay of a wake-up so far, and the largest CPU time between two wake-ups."""

    longest_seconds: float = 0.0
    computed_seconds: float = 0.0
    """CPU time of the loop's own thread. If `longest_seconds` is larger, other programs had the core meanwhile."""

    def reset(self) -> None:
        """Set both values to zero."""
        self.longest_seconds = self.computed_seconds = 0.0


@asynccontextmanager
async def watch_stalls() -> AsyncIterator[Stall]:
    """Wake up every millisecond and record the delay and the CPU time since the last wake-up."""
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
