"""The short form of the stranger: `make soak-stranger` also measures what good callers wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.stranger import KINDS, run

if TYPE_CHECKING:
    from pathlib import Path


async def test_no_good_caller_is_refused_beside_a_stranger(tmp_path: Path) -> None:
    found = await run(tmp_path, seconds=0.3)
    assert len(found.beside) == 2 * len(KINDS)
    assert {which: calls.failed for which, calls in found.beside.items() if calls.failed} == {}
