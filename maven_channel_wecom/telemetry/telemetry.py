"""The telemetry of one channel: it passes each event to the listeners for metrics, log lines and spans."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from maven_channel_wecom.telemetry.events import TelemetryEvent
from maven_channel_wecom.telemetry.log import LogListener
from maven_channel_wecom.telemetry.metrics import MetricsListener
from maven_channel_wecom.telemetry.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)

_E = TypeVar("_E", bound=TelemetryEvent)


class Telemetry:
    """Passes each event of one channel to its listeners. The channel's other parts call the instance as `emit`.

    Args:
        registry: the host's registry, which holds the channel's metrics until `close`.
        channel: the name of the channel.
        now: returns the time in seconds.
        version: the version of this package.
    """

    def __init__(self, registry: CollectorRegistry, channel: str, *, now: Callable[[], float], version: str) -> None:
        self._channel = channel
        self._listeners: dict[type[TelemetryEvent], list[Callable[[Any], object]]] = {}
        self._failed: set[type[TelemetryEvent]] = set()
        self._metrics = MetricsListener(registry, channel, self.listen, version=version)
        LogListener(channel, self.listen, now=now, on_suppressed=self._metrics.suppressed_lines.inc)
        self.tracing = open_tracing(channel, version, self.listen)
        """The Tracing that wraps the operations of the channel in spans."""

    def __call__(self, event: TelemetryEvent) -> None:
        """Pass an event to its listeners. If one raises, the others are still called."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a bug in telemetry must not affect the message
                self._report_failure(event, error)

    def listen(self, kind: type[_E], listener: Callable[[_E], object]) -> None:
        """Register a listener for one class of events. Listeners are called in order of registration."""
        self._listeners.setdefault(kind, []).append(listener)

    def watch(self, **gauges: Callable[[], float]) -> None:
        """Set the functions that return the values of gauges at each scrape, by name without `maven_wecom_`."""
        self._metrics.watch(**gauges)

    def close(self) -> None:
        """Remove the metrics of the channel from the registry."""
        self._metrics.close()

    def _report_failure(self, event: TelemetryEvent, error: Exception) -> None:
        """Log the failure of a listener, once per class of events, as clients can cause many events."""
        kind = type(event)
        if kind not in self._failed:
            self._failed.add(kind)
            fields = {"channel": self._channel, "event": kind.__name__, "error": type(error).__name__}
            logger.error("wecom telemetry failed", extra={"fields": fields})
