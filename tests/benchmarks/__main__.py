"""Measure everything, or some parts, and write the figures as JSON; `make bench` also draws the page and picture anew.

python -m tests.benchmarks callbacks --rounds 3 --messages 5000
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import callbacks, delivery
from tests.benchmarks.figures import read_result, taken, write_result

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows

PARTS = {"callbacks": callbacks, "delivery": delivery}


def main() -> int:
    """Measure, print a table for each part, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"out of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=10_000, help="in one round (default: 10000)")
    parser.add_argument("--json", type=Path, help="where the figures are kept; parts not measured stay as they are")
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        if name not in PARTS:
            parser.error(f"no part {name}: choose from {', '.join(PARTS)}")
        load_before = os.getloadavg()[0]
        rows = PARTS[name].measure(messages=arguments.messages, rounds=arguments.rounds, tell=_tell)
        sys.stdout.write(f"\n{name}\n{_table(rows)}")
        if arguments.json:
            result = read_result(arguments.json)
            result[name] = taken(rows, load_before=load_before)
            write_result(arguments.json, result)
    return 0


def _tell(sentence: str) -> None:
    """Show that something goes on, to a person only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{sentence}")
        sys.stderr.flush()


def _table(rows: Rows) -> str:
    lines = []
    for subject, measures in rows.items():
        cells = [
            f"{measure} {found.value:g} {found.unit} ({found.low:g} to {found.high:g})"
            for measure, found in measures.items()
        ]
        lines.append(f"  {subject:<32} {'; '.join(cells)}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
