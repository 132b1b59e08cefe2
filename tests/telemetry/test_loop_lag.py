"""What a stall of the event loop shows."""

from __future__ import annotations

import asyncio
import time

from maven_channel_wecom.loop_lag import measure_loop_lag


async def test_a_stall_is_seen_with_its_length() -> None:
    """At the first look after it."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    measuring = asyncio.create_task(measure_loop_lag(seen.put_nowait, interval_seconds=0.01))
    assert await seen.get() >= 0
    # On purpose: this is the stall.
    time.sleep(0.2)  # noqa: ASYNC251
    assert max(await seen.get(), await seen.get()) >= 0.15
    measuring.cancel()
