"""The short form of the benchmarks: answers are right and figures are there. How fast it was is not asked here."""

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

SHORT = Scale(messages=64, rounds=1, entries=300, seconds=1.0, picture_bytes=200_000, variants=False)

SUBJECTS = {
    "callbacks": {"bare aiohttp application", "bare asyncio protocol", "memory:", "sqlite:", "redis:"},
    "calm": {"300/s, agent hangs, pictures arrive"},
    "delivery": {"bare aiohttp session", "bare aiohttp session, a connection each", "maven_outbound_send"},
    "media": {"a picture of 0.190735 MiB", "16 pictures of 0.190735 MiB at once"},
    "codec": {"query", "body", "signature", "base64", "decrypt", "JSON", "seal"},
    "state": {"memory:", "sqlite:", "redis:"},
}

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_measures_what_is_asked_of_it(part: str) -> None:
    """An answer that is wrong, a message that is not handed over or not delivered, would end it with an error."""
    rows: Rows = PARTS[part].measure(SHORT)
    assert SUBJECTS[part] <= set(rows)
    assert all(measures for measures in rows.values())


def test_the_page_and_its_picture_show_the_figures_that_were_kept() -> None:
    """Numbers and their picture are made from one file, so they cannot differ."""
    result = read_result(DOCS / "performance.json")
    assert set(result) == set(PARTS)
    assert page.figures_on(DOCS / "performance.md") == page.figures(result)
    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == picture.draw(result)


def test_a_figure_is_the_median_of_its_rounds_with_their_spread() -> None:
    """And says whether it reaches what it should."""
    assert figure([3.0, 1.0, 2.0], at_least=2.0) == Figure(value=2.0, low=1.0, high=3.0, at_least=2.0)
    assert figure([2.0], at_least=2.0).reached is True
    assert figure([2.1], at_most=2.0).reached is False
    assert figure([2.1]).reached is None


def test_rounds_are_compared_with_the_floor_of_the_same_round() -> None:
    """What slows both down cancels out."""
    assert ratios([10.0, 5.0], [5.0, 2.5]) == [2.0, 2.0]
