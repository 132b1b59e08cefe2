"""Draws the figures as an SVG: callbacks compared with baselines and other projects, and figures with their targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tests.benchmarks.page import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.figures import Figure, Result

OTHERS = {"the Go original": 1.28, "AstrBot": 0.12, "a Flask framework": 0.09, "LangBot": 0.03}
"""Throughput of other projects as a multiple of the bare aiohttp application's, from earlier side-by-side runs on one
core."""

_BASELINES = ("bare aiohttp application", "bare asyncio protocol")
_GREEN, _GREY, _PALE, _RED, _INK, _LINE = "#1f7a4d", "#5b6b7b", "#c3cad1", "#b4532a", "#1d2733", "#dde2e7"
_LABEL_CHARACTERS = 58
_WIDTH, _LEFT, _RIGHT, _ROW, _BAR = 980, 380, 120, 26, 16


@dataclass(frozen=True)
class _Row:
    label: str
    value: float
    low: float
    high: float
    color: str
    text: str


@dataclass(frozen=True)
class _Panel:
    """Bars that begin at `origin` on a logarithmic scale, because the values span several orders of magnitude."""

    title: str
    rows: Sequence[_Row]
    lowest: float
    highest: float
    origin: float
    ticks: Sequence[float]

    @property
    def height(self) -> int:
        return 62 + _ROW * len(self.rows)

    def x(self, value: float) -> float:
        """Return the x coordinate of a value, which is clamped to the scale."""
        within = min(max(value, self.lowest), self.highest)
        share = math.log(within / self.lowest) / math.log(self.highest / self.lowest)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def draw(result: Result) -> str:
    """Return the SVG picture of a result."""
    panels = [
        _Panel(
            "Callbacks acknowledged per second on one core, as multiples of a bare aiohttp application",
            sorted(_callbacks(result), key=lambda row: -row.value),
            *(0.02, 20.0, 0.02),
            (0.03, 0.1, 0.3, 1, 3, 10),
        ),
        _Panel(
            "Every figure relative to its target: further right is better",
            list(_target_rows(result)),
            *(1 / 16, 16.0, 1.0),
            (0.125, 0.25, 0.5, 1, 2, 4, 8),
        ),
    ]
    lines: list[str] = []
    top = 10
    for panel in panels:
        if panel.rows:
            lines += _drawn(panel, top)
            top += panel.height
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" font-size="13"'
        ' font-family="system-ui, sans-serif">'
    )
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>', *lines, "</svg>\n"])


def _callbacks(result: Result) -> Iterator[_Row]:
    measured = result.get("callbacks")
    for subject, measures in measured.rows.items() if measured else ():
        found = measures["throughput relative to aiohttp"]
        baseline = subject.startswith(_BASELINES)
        label = subject if baseline else f"this channel, {subject}"
        yield _Row(label, found.value, found.low, found.high, _GREY if baseline else _GREEN, number(found.value))
    for name, value in OTHERS.items() if measured else ():
        yield _Row(f"{name} (measured earlier)", value, value, value, _PALE, number(value))


def _target_rows(result: Result) -> Iterator[_Row]:
    for part, measured in result.items():
        for subject, measures in measured.rows.items():
            for measure, found in measures.items():
                if found.reached is not None:
                    yield _target_row(f"{part}: {subject}, {measure}", found)


def _target_row(label: str, found: Figure) -> _Row:
    if found.at_least is not None:
        value, low, high = (each / found.at_least for each in (found.value, found.low, found.high))
    else:
        assert found.at_most is not None
        # Less is better. The minimum avoids a division by zero.
        value, high, low = (found.at_most / max(each, 1e-9) for each in (found.value, found.low, found.high))
    short = label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"
    unit = " ×" if found.unit == "x" else f" {found.unit}"
    return _Row(short, value, low, high, _GREEN if found.reached else _RED, f"{number(found.value)}{unit}")


def _drawn(panel: _Panel, top: int) -> Iterator[str]:
    bottom = top + 40 + _ROW * len(panel.rows)
    yield f'<text x="16" y="{top + 18}" font-weight="600" fill="{_INK}">{escape(panel.title)}</text>'
    for tick in panel.ticks:
        x = panel.x(tick)
        yield f'<line x1="{x}" y1="{top + 34}" x2="{x}" y2="{bottom}" stroke="{_INK if tick == 1 else _LINE}"/>'
        yield f'<text x="{x}" y="{bottom + 14}" text-anchor="middle" font-size="11" fill="{_GREY}">{tick:g}</text>'
    for place, row in enumerate(panel.rows):
        y = top + 40 + _ROW * place
        begin, end = sorted((panel.x(panel.origin), panel.x(row.value)))
        low, high = panel.x(row.low), panel.x(row.high)
        middle = y + _BAR / 2
        yield f'<text x="{_LEFT - 10}" y="{y + 12}" text-anchor="end" fill="{_INK}">{escape(row.label)}</text>'
        yield f'<rect x="{begin}" y="{y}" width="{end - begin:.1f}" height="{_BAR}" fill="{row.color}"/>'
        if low != high:
            yield f'<line x1="{low}" y1="{middle}" x2="{high}" y2="{middle}" stroke="{_INK}" stroke-width="1.5"/>'
        yield f'<text x="{max(end, high) + 8}" y="{y + 12}" fill="{_INK}">{escape(row.text)}</text>'
