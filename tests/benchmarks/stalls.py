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
    """The longest time by which a wake-up was late, so far."""

    longest_seconds: float = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Stall]:
    """Wake up every millisecond, and note how late that was."""
    stall = Stall()

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_PAUSE_SECONDS)
            stall.longest_seconds = max(stall.longest_seconds, time.perf_counter() - began - _PAUSE_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield stall
    finally:
        watching.cancel()
