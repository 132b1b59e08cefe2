"""What every test has: an event loop that must not be blocked, and somebody who listens for secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx

from tests.suite_watch import (  # noqa: F401 - hooks and fixtures of pytest
    capsys,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_terminal_summary,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _loop_never_blocks() -> Iterator[None]:
    """Fail a test in which the package sleeps, reads a file or asks a database on the event loop.

    The simulator and the demonstration are tools of one person at a time, and write their files where they stand.
    """
    with blockbuster_ctx("maven_channel_wecom", excluded_modules=["maven_channel_wecom.simulator"]):
        yield
