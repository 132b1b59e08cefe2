"""Metrics of this process, from Python and the operating system, in the registry of the host."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Metric


class ProcessMetrics(Collector):
    """Exposes what `refresh` read last: an event loop that serves callbacks must read no files, not even in /proc."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._process = ProcessCollector(registry=None)
        self._last_read: list[Metric] = []
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(self)

    async def refresh(self) -> None:
        """Read the metrics of the process again, in a thread."""
        self._last_read = await asyncio.to_thread(lambda: list(self._process.collect()))

    def collect(self) -> Iterable[Metric]:
        return self._last_read
