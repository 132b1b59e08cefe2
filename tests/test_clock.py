"""Tests for the system clock."""

from __future__ import annotations

import time

from maven_channel_wecom.clock import SystemClock


def test_now_and_wall_are_seconds_since_the_epoch() -> None:
    before = time.time()
    clock = SystemClock()
    assert before - 1 < clock.now() < time.time() + 1
    assert before <= clock.wall() <= time.time()


async def test_sleep_waits_as_long_as_it_should() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.01)
    assert clock.now() - before >= 0.009
