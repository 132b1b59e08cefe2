"""How late the event loop is: what every caller waits for while something blocks it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.telemetry.events import LoopLagged

if TYPE_CHECKING:
    from maven_channel_wecom.telemetry.events import Emit

INTERVAL_SECONDS: Final = 1.0
"""Lower: shorter stalls are seen, at a higher cost. Higher: a stall between two measurements stays unseen."""


async def measure_loop_lag(emit: Emit, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Emit, again and again until cancelled, how many seconds late the loop woke this task."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        emit(LoopLagged(seconds=max(0.0, loop.time() - due)))
