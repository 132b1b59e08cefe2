"""The metrics of the process, which a scrape must not read on the event loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector

from maven_channel_wecom.host.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    import pytest


async def test_a_refresh_reads_the_process_in_a_thread_and_a_scrape_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    collect = ProcessCollector.collect

    def recorded(collector: ProcessCollector) -> object:
        threads.append(threading.current_thread())
        return collect(collector)

    monkeypatch.setattr(ProcessCollector, "collect", recorded)
    registry = CollectorRegistry()
    metrics = ProcessMetrics(registry)
    assert registry.get_sample_value("process_cpu_seconds_total") is None
    await metrics.refresh()
    first = registry.get_sample_value("process_cpu_seconds_total")
    assert first is not None
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_python_and_its_garbage_collector_are_in_the_registry() -> None:
    registry = CollectorRegistry()
    ProcessMetrics(registry)
    assert {"python_info", "python_gc_collections"} <= {metric.name for metric in registry.collect()}
