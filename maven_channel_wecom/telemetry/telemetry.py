"""What a channel reports to: everybody in the flow gets it as `emit`, and it calls those who count, log and trace."""

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
    """Calls the listeners of each event of one channel: metrics, log lines, spans.

    Args:
        registry: the host's, where the metrics of the channel are until `close`.
        channel: the name of the channel.
        now: returns the time in seconds.
        version: of this package.
    """

    def __init__(self, registry: CollectorRegistry, channel: str, *, now: Callable[[], float], version: str) -> None:
        self._channel = channel
        self._listeners: dict[type[TelemetryEvent], list[Callable[[Any], object]]] = {}
        self._reported: set[type[TelemetryEvent]] = set()
        self._metrics = MetricsListener(registry, channel, self.listen, version=version)
        LogListener(channel, self.listen, now=now, on_suppressed=self._metrics.suppressed_lines.inc)
        self.tracing = open_tracing(channel, version, self.listen)
        """Wraps the steps of the channel in spans."""

    def __call__(self, event: TelemetryEvent) -> None:
        """Report an event. A listener that fails costs its own report alone."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a bug in a report must not cost the message it is about
                self._report_failure(event, error)

    def listen(self, kind: type[_E], listener: Callable[[_E], object]) -> None:
        """Have a listener called with each event of one class, after the listeners that came before it."""
        self._listeners.setdefault(kind, []).append(listener)

    def watch(self, **gauges: Callable[[], float]) -> None:
        """Read gauges, named without `maven_wecom_`, from functions whenever a scrape wants them."""
        self._metrics.watch(**gauges)

    def close(self) -> None:
        """Remove the metrics of the channel from the registry."""
        self._metrics.close()

    def _report_failure(self, event: TelemetryEvent, error: Exception) -> None:
        """Log once for each class of events that a listener fails: strangers can cause many of them."""
        kind = type(event)
        if kind not in self._reported:
            self._reported.add(kind)
            fields = {"channel": self._channel, "event": kind.__name__, "error": type(error).__name__}
            logger.error("wecom telemetry failed", extra={"fields": fields})
