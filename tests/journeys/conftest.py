"""What every journey has: somebody who watches for secrets and for what users wrote."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.journeys.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def watch() -> Iterator[Watch]:
    """Render all log records of the test; at its end no canary may have shown anywhere, and no line have surprised."""
    watching = Watch()
    root = logging.getLogger()
    level = root.level
    root.addHandler(watching)
    root.setLevel(logging.DEBUG)
    yield watching
    root.removeHandler(watching)
    root.setLevel(level)
    assert watching.leaks() == []
    assert watching.undocumented == set()
