"""What was measured, by part, subject and measure: kept as JSON, from which page and picture can be made anew."""

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
    """One number: the median of its rounds, the lowest and the highest, and what is to be reached."""

    value: float
    low: float
    high: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches what it should; None when nothing is asked of it."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


Rows = dict[str, dict[str, Figure]]
"""The figures of one part: by subject, which is a row of its table, then by measure, which is a column."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """One part as it was measured, and where: figures of other days on other machines are not comparable."""

    on: str
    machine: str
    load_before: float
    """Load average over one minute when it began. Above some 0.5 somebody else was working too."""
    packages: dict[str, str]
    rows: Rows


Result = dict[str, Taken]
"""What the JSON file holds: each part by its name."""


def figure(
    rounds: Iterable[float], unit: str = "", *, at_least: float | None = None, at_most: float | None = None
) -> Figure:
    """Return the median of some rounds with their spread, to four digits."""
    values = sorted(_rounded(value) for value in rounds)
    return Figure(
        value=_rounded(statistics.median(values)),
        low=values[0],
        high=values[-1],
        unit=unit,
        at_least=at_least,
        at_most=at_most,
    )


def ratios(rounds: Sequence[float], floor: Sequence[float]) -> list[float]:
    """Return each round as a multiple of the floor's in the same round: what the machine did meanwhile cancels out."""
    return [value / base for value, base in zip(rounds, floor, strict=True)]


def taken(rows: Rows, *, load_before: float) -> Taken:
    """Return rows with where and when they were measured."""
    return Taken(
        on=time.strftime("%Y-%m-%d", time.gmtime()),
        machine=f"{len(os.sched_getaffinity(0))} cores, {_processor()}, Python {platform.python_version()}",
        load_before=round(load_before, 1),
        packages=_versions(),
        rows=rows,
    )


def read_result(path: Path) -> Result:
    """Return what was measured before; nothing when there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Result) if path.exists() else {}


def write_result(path: Path, result: Result) -> None:
    """Keep figures in a form that people can compare line by line."""
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
