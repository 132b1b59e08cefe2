"""Measurement of event loop lag."""

from __future__ import annotations

import asyncio
import time

from maven_channel_wecom.telemetry.events import LoopLagged, TelemetryEvent
from maven_channel_wecom.telemetry.loop_lag import measure_loop_lag


async def test_a_stall_is_measured() -> None:
    emitted: asyncio.Queue[TelemetryEvent] = asyncio.Queue()

    async def lag_seconds() -> float:
        event = await emitted.get()
        assert isinstance(event, LoopLagged)
        return event.seconds

    measuring = asyncio.create_task(measure_loop_lag(emitted.put_nowait, interval_seconds=0.01))
    assert await lag_seconds() >= 0
    # This blocks the event loop on purpose.
    time.sleep(0.2)  # noqa: ASYNC251
    assert max(await lag_seconds(), await lag_seconds()) >= 0.15
    measuring.cancel()
