"""What every test has: a loop that must not be blocked, an SDK that takes spans, somebody who listens for secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx

from tests.spans import SPANS
from tests.suite_watch import (  # noqa: F401 - hooks and fixtures of pytest
    capsys,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_terminal_summary,
    shown,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture(autouse=True)
def _loop_never_blocks() -> Iterator[None]:
    """Fail a test in which the package sleeps, reads a file or asks a database on the event loop.

    The simulator and the demonstration are tools of one person at a time, and write their files where they stand.
    """
    with blockbuster_ctx("maven_channel_wecom", excluded_modules=["maven_channel_wecom.simulator"]):
        yield


@pytest.fixture(autouse=True)
def spans() -> Iterator[InMemorySpanExporter]:
    """Return the spans of this test that have ended; in the end they were shown to somebody."""
    SPANS.clear()
    yield SPANS
    for span in SPANS.get_finished_spans():
        shown("a trace", span.to_json())
