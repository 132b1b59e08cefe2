"""The short form of the benchmarks: answers are right and figures are there. How fast it was is not asked here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.__main__ import PARTS
from tests.benchmarks.scale import Scale

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows

SHORT = Scale(messages=64, rounds=1, entries=2_000, seconds=1.0, picture_bytes=200_000)

SUBJECTS = {
    "callbacks": {"bare aiohttp application", "bare asyncio protocol", "memory:", "sqlite:", "redis:"},
    "calm": {"300/s, agent hangs, pictures arrive"},
    "delivery": {"bare aiohttp session", "reply client", "maven_outbound_send"},
    "media": {"a picture of 0.190735 MiB"},
    "codec": {"query", "body", "signature", "base64", "decrypt", "unframe", "JSON", "admit (memory:)", "seal"},
    "state": {"memory:", "sqlite:", "redis:"},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_measures_what_is_asked_of_it(part: str) -> None:
    """An answer that is wrong, a message that is not handed over or not delivered, would end it with an error."""
    rows: Rows = PARTS[part].measure(SHORT)
    assert SUBJECTS[part] <= set(rows)
    assert all(measures for measures in rows.values())
