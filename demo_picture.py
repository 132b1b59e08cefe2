"""Draws a run of the demo as a picture of a terminal: docs/demo.svg, which README.md links.

python -m demo_picture
"""

from __future__ import annotations

from maven_channel_wecom import terminal

if __name__ == "__main__":
    # Before the long imports, so that Ctrl-C ends them silently.
    terminal.prepare()

import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from maven_channel_wecom.simulator.demo import run_demo
from maven_channel_wecom.slow_step import SlowStep
from maven_channel_wecom.stop_signals import run_async

PICTURE = Path(__file__).parent / "docs" / "demo.svg"

_WIDTH = 1180
_LINE_HEIGHT = 24
_TOP = 72
_COLUMNS = (20, 56, 330, 650)
_STYLE = (
    "text{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d8dee9}"
    ".ok{fill:#8fd694;font-weight:700}.head{fill:#8b98a9}.rule{fill:#9fb4cf}.prompt{fill:#ffffff;font-weight:700}"
)


def draw(lines: list[str]) -> str:
    """Return an SVG image of the lines that the demo prints. Columns are separated by two or more spaces."""
    rows = [line for text in lines for line in text.split("\n") if line]
    body = [_text(_COLUMNS[0], _TOP - 24, "$ make demo", "prompt")]
    for number, row in enumerate(rows):
        y = _TOP + number * _LINE_HEIGHT
        cells = re.split(r" {2,}", row)
        if len(cells) != len(_COLUMNS):
            body.append(_text(_COLUMNS[0], y, row, "head" if number == 0 else ""))
            continue
        outcome, *others = cells
        styles = ("head",) * 3 if not outcome else ("", "", "rule")
        body += [_text(_COLUMNS[0], y, outcome, "ok")] if outcome else []
        body += [_text(x, y, cell, style) for x, cell, style in zip(_COLUMNS[1:], others, styles, strict=True)]
    height = _TOP + len(rows) * _LINE_HEIGHT
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="The output of make demo">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#1c2128"/>',
        *(f'<circle cx="{x}" cy="18" r="5" fill="#4b5563"/>' for x in (24, 42, 60)),
    ]
    return "\n".join([*head, *body, "</svg>\n"])


def texts(picture: str) -> list[str]:
    """Return the texts in a picture, without numbers: times and sizes differ between runs."""
    return [re.sub(r"\d+(\.\d+)?", "N", text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]


def _text(x: int, y: int, text: str, style: str) -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{escape(text)}</text>'


def main() -> int:
    """Run the demo and write the picture."""
    lines: list[str] = []
    with SlowStep("the demo is running, for about ten seconds"):
        failed = run_async(lambda: run_demo(lines.append))
    if failed:
        sys.stderr.write("\n".join([*lines, ""]))
        return failed
    PICTURE.write_text(draw(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
