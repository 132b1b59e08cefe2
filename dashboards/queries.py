"""PromQL expressions that several panels share, restricted to the selected channels, jobs and instances."""

from __future__ import annotations

from typing import Final

from dashboards.panels import SELECTED

INTERVAL: Final = "$__rate_interval"
RANGE: Final = "$__range"


def per_minute(metric: str, by: str = "", matchers: str = "") -> str:
    """Return the expression of a counter's rate per minute, summed by labels."""
    return f"60 * {_sum(by)}(rate({metric}{{{_matchers(matchers)}}}[{INTERVAL}]))"


def in_range(metric: str, by: str = "channel", matchers: str = "") -> str:
    """Return the expression of a counter's increase over the dashboard's time range, summed by labels."""
    return f"{_sum(by)}(increase({metric}{{{_matchers(matchers)}}}[{RANGE}]))"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return the expression of the value that a share of a histogram's observations stays below."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {_sum(labels)}(rate({histogram}_bucket{{{SELECTED}}}[{INTERVAL}])))"


def quantiles(histogram: str) -> dict[str, str]:
    """Return the expressions of the median, the 95th and the 99th percentile, keyed by legend."""
    return {
        "half are faster": quantile(0.5, histogram),
        "95 % are faster": quantile(0.95, histogram),
        "99 % are faster": quantile(0.99, histogram),
    }


def not_zero(expr: str) -> str:
    """Return an expression without the series that are zero: few of about twenty reasons ever occur."""
    return f"{expr} > 0"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"


def _matchers(matchers: str) -> str:
    return f"{SELECTED}, {matchers}" if matchers else SELECTED
