"""The figures as Markdown: what is to be reached, then everything, as docs/performance.md has it between markers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.figures import Figure, Result, Taken

_BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rewrite(page: Path, result: Result) -> None:
    """Put the figures into the page, in place of those it had."""
    text = page.read_text(encoding="utf-8")
    page.write_text(_BLOCK.sub(lambda _: figures(result), text), encoding="utf-8")


def figures_on(page: Path) -> str:
    """Return the figures a page shows."""
    found = _BLOCK.search(page.read_text(encoding="utf-8"))
    assert found
    return found[0]


def figures(result: Result) -> str:
    """Return the tables of a result."""
    lines = ["| | reach | found | |", "|---|---|---|---|"]
    for part, taken in result.items():
        for subject, measures in taken.rows.items():
            for measure, found in measures.items():
                if found.reached is not None:
                    mark = "reached" if found.reached else "**not reached**"
                    lines.append(f"| {part}: {subject}, {measure} | {_reach(found)} | {_shown(found)} | {mark} |")
    machines = {_machine(taken) for taken in result.values()}
    for part, taken in result.items():
        lines += ["", f"### {part}", "", *_table(taken), "", f"Taken {taken.on}; load before: {taken.load_before:g}."]
        if len(machines) > 1:
            lines.append(f"On {_machine(taken)}.")
    if len(machines) == 1:
        lines += ["", f"All on {machines.pop()}."]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Write a number the way people read it: three digits, thousands apart."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def _table(taken: Taken) -> list[str]:
    columns = list(dict.fromkeys(measure for measures in taken.rows.values() for measure in measures))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for subject, measures in taken.rows.items():
        cells = [_shown(measures[column]) if column in measures else "" for column in columns]
        lines.append(f"| {subject} | {' | '.join(cells)} |")
    return lines


def _shown(found: Figure) -> str:
    text = f"{number(found.value)}{_unit(found.unit)}"
    return text if found.low == found.high else f"{text} ({number(found.low)} to {number(found.high)})"


def _reach(found: Figure) -> str:
    if found.at_least is not None:
        return f"≥ {number(found.at_least)}{_unit(found.unit)}"
    assert found.at_most is not None
    return f"≤ {number(found.at_most)}{_unit(found.unit)}"


def _unit(unit: str) -> str:
    return " ×" if unit == "x" else f" {unit}" if unit else ""


def _machine(taken: Taken) -> str:
    return f"{taken.machine}; " + ", ".join(f"{name} {version}" for name, version in taken.packages.items())
