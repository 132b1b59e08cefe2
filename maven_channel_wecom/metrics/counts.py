"""Counters and histograms that the event loop alone moves: no lock, and a tenth of the client library's cost.

They are what every message passes several times. Only their bookkeeping is ours; how they look to a scrape is the
library's.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric


class Count:
    """One series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count up."""
        self.value += amount


class Distribution:
    """One series of a histogram; `bounds` are the upper ends of its buckets, that without end left out."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Count an observation; one that is exactly at a bound is within it."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.total += amount


_Child = TypeVar("_Child", Count, Distribution)


class _Family(Collector, Generic[_Child]):
    """The series of one name. The first label is the channel."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._children: dict[tuple[str, ...], _Child] = {}
        registry.register(self)

    def labels(self, *values: str) -> _Child:
        """Return the series with these label values, made when there is none."""
        if values not in self._children:
            self._children[values] = self._new()
        return self._children[values]

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Drop the series of one channel."""
        for values in [values for values in self._children if values[0] == labels["channel"]]:
            del self._children[values]

    def describe(self) -> Iterable[Metric]:
        """See Collector: what a registry needs to find names that are taken."""
        return [self._metric()]

    def _new(self) -> _Child:
        raise NotImplementedError

    def _metric(self) -> Metric:
        raise NotImplementedError


class Counts(_Family[Count]):
    """A counter."""

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        metric = self._metric()
        for values, child in self._children.items():
            metric.add_metric(values, child.value)
        return [metric]

    def _new(self) -> Count:
        return Count()

    def _metric(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._text, labels=self._labels)


class Distributions(_Family[Distribution]):
    """A histogram."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry, buckets: Sequence[float]
    ) -> None:
        self._bounds = tuple(buckets)
        self._bound_names = [*map(floatToGoString, buckets), "+Inf"]
        super().__init__(name, text, labels, registry=registry)

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        metric = self._metric()
        for values, child in self._children.items():
            up_to = zip(self._bound_names, accumulate(child.counts), strict=True)
            metric.add_metric(values, buckets=list(up_to), sum_value=child.total)
        return [metric]

    def _new(self) -> Distribution:
        return Distribution(self._bounds)

    def _metric(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._text, labels=self._labels)
