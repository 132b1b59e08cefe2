"""Measurement of event loop lag: the delay that blocking code adds to everything else in the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.telemetry.events import LoopLagged

if TYPE_CHECKING:
    from maven_channel_wecom.telemetry.events import Emit

INTERVAL_SECONDS: Final = 1.0
"""Time between two measurements, in seconds. Lower: fewer stalls are missed, at a higher cost. Higher: stalls
between two measurements are missed."""


async def measure_loop_lag(emit: Emit, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Emit, at an interval and until cancelled, how many seconds late the event loop resumed this task."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        emit(LoopLagged(seconds=max(0.0, loop.time() - due)))
