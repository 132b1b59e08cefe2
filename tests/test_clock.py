"""Tests for the system clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.clock import ClockOffset, SystemClock

if TYPE_CHECKING:
    from pathlib import Path


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


def test_the_offset_is_constant_and_reveals_that_the_system_clock_was_adjusted(tmp_path: Path) -> None:
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("a\n")
    wall, since_boot = 1_000.0, 40.0
    before = SystemClock(wall=lambda: wall, since_boot=lambda: since_boot, boot_id=boot_id)
    wall, since_boot = 8_210.0, 50.0
    after = SystemClock(wall=lambda: wall, since_boot=lambda: since_boot, boot_id=boot_id)
    assert (before.now(), after.now()) == (1_010.0, 8_210.0)
    assert before.offset() == ClockOffset("a", 960.0)
    assert after.offset() == ClockOffset("a", 8_160.0)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"], ids=["missing", "empty", "blank", "not-ascii"])
def test_without_a_boot_id_there_is_no_offset(tmp_path: Path, content: bytes | None) -> None:
    boot_id = tmp_path / "boot_id"
    if content is not None:
        boot_id.write_bytes(content)
    assert SystemClock(boot_id=boot_id).offset() is None


def test_the_offset_of_this_machine_is_the_same_in_every_process() -> None:
    first, second = SystemClock().offset(), SystemClock().offset()
    if first is None or second is None:
        pytest.skip("this machine has no boot id")
    assert first.boot_id == second.boot_id
    assert first.seconds == pytest.approx(second.seconds, abs=1)
