"""Measured figures by part, subject and measure, and their JSON file, from which page and picture are generated."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PACKAGES = ("aiohttp", "cryptography", "httptools", "msgspec", "pybase64", "redis", "uvloop")


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A measured number: the median, lowest and highest value of its rounds, and its target if it has one."""

    value: float
    low: float
    high: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the median meets the target; None if there is no target."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


Rows = dict[str, dict[str, Figure]]
"""The figures of one part, keyed by subject (a row of its table) and then by measure (a column)."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one part with the date, machine and packages. Figures of different machines are not comparable."""

    on: str
    machine: str
    load_before: float
    """Load average over one minute before the measurement. Above about 0.5, other programs were running too."""
    packages: dict[str, str]
    rows: Rows


Result = dict[str, Measurement]
"""The content of the JSON file: all parts, keyed by name."""


def figure(
    rounds: Iterable[float], unit: str = "", *, at_least: float | None = None, at_most: float | None = None
) -> Figure:
    """Return the median and the spread of some rounds, rounded to four digits."""
    values = sorted(_rounded(value) for value in rounds)
    return Figure(
        value=_rounded(statistics.median(values)),
        low=values[0],
        high=values[-1],
        unit=unit,
        at_least=at_least,
        at_most=at_most,
    )


def ratios(rounds: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return each round as a multiple of the baseline's in the same round, which cancels out other load."""
    return [value / base for value, base in zip(rounds, baseline, strict=True)]


def measurement(rows: Rows, *, load_before: float) -> Measurement:
    """Return rows with the current date, machine and package versions."""
    return Measurement(
        on=time.strftime("%Y-%m-%d", time.gmtime()),
        machine=f"{len(os.sched_getaffinity(0))} cores, {_processor()}, Python {platform.python_version()}",
        load_before=round(load_before, 1),
        packages=_versions(),
        rows=rows,
    )


def read_result(path: Path) -> Result:
    """Return the stored figures, or an empty result if there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Result) if path.exists() else {}


def write_result(path: Path, result: Result) -> None:
    """Store figures as indented JSON, which can be compared line by line."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
