"""Makes every end-to-end test check that the log lines of the package are documented."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.watch import Watch


@pytest.fixture(autouse=True)
def watch(watch: Watch) -> Iterator[Watch]:
    """Return the watch of the running test, and fail the test if a log line is not documented."""
    yield watch
    assert watch.undocumented == set()
