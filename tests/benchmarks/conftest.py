"""What the short form of the benchmarks does without."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _loop_never_blocks() -> None:
    """Let the loop write to a file: the host measured here logs to one, as under a supervisor to its standard error."""
