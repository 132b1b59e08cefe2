"""Fixtures of every test: checks that nothing blocks the event loop or leaks a secret, and the collected spans."""

from __future__ import annotations

import signal
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
    pytest_testnodedown,
    record_output,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def pytest_configure() -> None:
    """Heed the signals that `nohup` and the background jobs of a shell ignore: tests send them to commands."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _loop_never_blocks() -> Iterator[None]:
    """Fail a test in which the package sleeps, reads a file or queries a database on the event loop.

    The simulator and the demonstration serve one person at a time, so they may write files on the event loop.
    """
    with blockbuster_ctx("maven_channel_wecom", excluded_modules=["maven_channel_wecom.simulator"]):
        yield


@pytest.fixture(autouse=True)
def spans() -> Iterator[InMemorySpanExporter]:
    """Return the exporter with the spans of this test that have ended. The suite watch checks them for secrets."""
    SPANS.clear()
    yield SPANS
    for span in SPANS.get_finished_spans():
        record_output("a trace", span.to_json())
