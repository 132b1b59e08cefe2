"""The short form of `make soak-stranger`, which also checks response times and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.stranger import ATTACKS, run

if TYPE_CHECKING:
    from pathlib import Path


async def test_no_good_caller_is_refused_during_an_attack(tmp_path: Path) -> None:
    result = await run(tmp_path, seconds=0.3)
    assert len(result.attacked) == 2 * len(ATTACKS)
    assert {attack: calls.failed for attack, calls in result.attacked.items() if calls.failed} == {}
