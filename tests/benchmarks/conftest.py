"""Fixtures for the short form of the benchmarks."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _loop_never_blocks() -> None:
    """Override the check for blocking calls, because the host measured here logs to a file on the event loop."""
