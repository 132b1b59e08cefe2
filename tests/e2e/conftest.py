"""The watch of the suite, to which no line of the log may be unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.watch import Watch


@pytest.fixture(autouse=True)
def watch(watch: Watch) -> Iterator[Watch]:
    """Return the watch of the suite; every line of the log must be documented."""
    yield watch
    assert watch.undocumented == set()
