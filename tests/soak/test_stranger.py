"""The short form of the stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.stranger import KINDS, run

if TYPE_CHECKING:
    from pathlib import Path

# Nine of ten, and not the slowest: a core may be somebody else's for a moment. A body that is decompressed costs a
# thousand times what a callback does.
MAX_RATIO = 25


async def test_good_callers_hardly_notice_a_stranger(tmp_path: Path) -> None:
    found = await run(tmp_path, seconds=0.6)
    ratios = {which: calls.p90_seconds / found.alone.p90_seconds for which, calls in found.beside.items()}
    assert len(ratios) == 2 * len(KINDS)
    assert {which: calls.failed for which, calls in found.beside.items() if calls.failed} == {}
    assert {which: ratio for which, ratio in ratios.items() if ratio > MAX_RATIO} == {}
