"""What Python and the operating system say about this process, on the registry of the host."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Metric


class ProcessMetrics(Collector):
    """Shows what `refresh` read: a loop that serves callbacks reads no files, not even those of /proc."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._process = ProcessCollector(registry=None)
        self._read: list[Metric] = []
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(self)

    async def refresh(self) -> None:
        """Read again."""
        self._read = await asyncio.to_thread(lambda: list(self._process.collect()))

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        return self._read
