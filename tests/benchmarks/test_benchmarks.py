"""Runs the benchmarks in a short form and checks that they produce figures. Speed is not tested here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import page, picture
from tests.benchmarks.__main__ import PARTS
from tests.benchmarks.figures import Figure, figure, ratios, read_result
from tests.benchmarks.scale import Scale

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows

SHORT = Scale(
    messages=64,
    rounds=1,
    entries=300,
    seconds=1.0,
    picture_bytes=200_000,
    streams_per_second=30,
    turn_seconds=0.3,
    variants=False,
)

SUBJECTS = {
    "callbacks": {"bare aiohttp application", "bare asyncio protocol", "memory:", "sqlite:", "redis:"},
    "calm": {"300/s, agent hangs, pictures arrive"},
    "delivery": {"bare aiohttp session", "bare aiohttp session, a connection each", "maven_outbound_send"},
    "media": {"a picture of 0.190735 MiB", "16 pictures of 0.190735 MiB at once"},
    "codec": {"query", "body", "signature", "base64", "decrypt", "JSON", "seal"},
    "state": {"memory:", "sqlite:", "redis:"},
    "streams": {"memory: 30/s, turns of 0.3 s", "redis: 10/s, turns of 0.3 s"},
}

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_measures_all_its_subjects(part: str) -> None:
    """A wrong answer or a message that is not published or delivered raises an error."""
    rows: Rows = PARTS[part].measure(SHORT)
    assert SUBJECTS[part] <= set(rows)
    assert all(measures for measures in rows.values())


def test_the_page_and_its_picture_are_generated_from_the_stored_figures() -> None:
    result = read_result(DOCS / "performance.json")
    assert set(result) == set(PARTS)
    assert page.figures_on(DOCS / "performance.md") == page.figures(result)
    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == picture.draw(result)


def test_a_figure_is_the_median_of_its_rounds_with_spread_and_target() -> None:
    assert figure([3.0, 1.0, 2.0], at_least=2.0) == Figure(value=2.0, low=1.0, high=3.0, at_least=2.0)
    assert figure([2.0], at_least=2.0).reached is True
    assert figure([2.1], at_most=2.0).reached is False
    assert figure([2.1]).reached is None


def test_a_round_is_compared_with_the_baseline_of_the_same_round() -> None:
    """Other load on the machine slows both down and cancels out."""
    assert ratios([10.0, 5.0], [5.0, 2.5]) == [2.0, 2.0]
