"""Writes the figures as Markdown tables between two markers of a page: first the targets, then every part."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.figures import Figure, Measurement, Result

_BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rewrite(page: Path, result: Result) -> None:
    """Replace the figures in the page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(_BLOCK.sub(lambda _: figures(result), text), encoding="utf-8")


def figures_on(page: Path) -> str:
    """Return the tables that a page contains."""
    found = _BLOCK.search(page.read_text(encoding="utf-8"))
    assert found
    return found[0]


def figures(result: Result) -> str:
    """Return the tables of a result."""
    lines = ["| | target | measured | |", "|---|---|---|---|"]
    for part, measured in result.items():
        for subject, measures in measured.rows.items():
            for measure, found in measures.items():
                if found.reached is not None:
                    mark = "met" if found.reached else "**missed**"
                    lines.append(f"| {part}: {subject}, {measure} | {_target(found)} | {_cell(found)} | {mark} |")
    machines = {_machine(measured) for measured in result.values()}
    for part, measured in result.items():
        lines += [
            "",
            f"### {part}",
            "",
            *_table(measured),
            "",
            f"Measured on {measured.on}; load before: {measured.load_before:g}.",
        ]
        if len(machines) > 1:
            lines += wrap(f"Machine: {_machine(measured)}.", width=120)
    if len(machines) == 1:
        lines += ["", *wrap(f"Machine of all parts: {machines.pop()}.", width=120)]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Format a number with three significant digits and thousands separators."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def _table(measured: Measurement) -> list[str]:
    columns = list(dict.fromkeys(measure for measures in measured.rows.values() for measure in measures))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for subject, measures in measured.rows.items():
        cells = [_cell(measures[column]) if column in measures else "" for column in columns]
        lines.append(f"| {subject} | {' | '.join(cells)} |")
    return lines


def _cell(found: Figure) -> str:
    text = f"{number(found.value)}{_unit(found.unit)}"
    return text if found.low == found.high else f"{text} ({number(found.low)} to {number(found.high)})"


def _target(found: Figure) -> str:
    if found.at_least is not None:
        return f"≥ {number(found.at_least)}{_unit(found.unit)}"
    assert found.at_most is not None
    return f"≤ {number(found.at_most)}{_unit(found.unit)}"


def _unit(unit: str) -> str:
    return " ×" if unit == "x" else f" {unit}" if unit else ""


def _machine(measured: Measurement) -> str:
    return f"{measured.machine}; " + ", ".join(f"{name} {version}" for name, version in measured.packages.items())
