"""Run all benchmarks or some of them, store the figures as JSON, and with --page regenerate the tables and the picture.

python -m tests.benchmarks callbacks --rounds 3 --messages 5000

Figures from a machine that is busy with other work are meaningless: check the spread of the rounds, which is printed
after each median.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import callbacks, calm, codec, delivery, media, page, picture, state, streams
from tests.benchmarks.figures import measurement, read_result, write_result
from tests.benchmarks.scale import Scale

if TYPE_CHECKING:
    from tests.benchmarks.figures import Rows

PARTS = {
    "callbacks": callbacks,
    "calm": calm,
    "delivery": delivery,
    "media": media,
    "codec": codec,
    "state": state,
    "streams": streams,
}


def main() -> int:
    """Run the benchmarks, print a table for each part, and store the figures."""
    ordinary = Scale()
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default: all of them")
    parser.add_argument("--rounds", type=int, default=ordinary.rounds)
    parser.add_argument("--messages", type=int, default=ordinary.messages, help="in one round")
    parser.add_argument("--entries", type=int, default=ordinary.entries, help="number of live entries in the state")
    parser.add_argument("--seconds", type=float, default=ordinary.seconds, help="duration of the steady load")
    parser.add_argument("--json", type=Path, help="file for the figures; parts that are not measured keep theirs")
    parser.add_argument("--page", type=Path, help="page to write the figures of --json into, and its .svg picture")
    parser.add_argument("--redraw", action="store_true", help="measure nothing, only regenerate the page from --json")
    arguments = parser.parse_args()
    scale = Scale(
        messages=arguments.messages,
        rounds=arguments.rounds,
        entries=arguments.entries,
        seconds=arguments.seconds,
        report=_print_progress,
    )
    if arguments.page and not arguments.json:
        parser.error("--page needs --json, which holds the figures")
    parts = [] if arguments.redraw else arguments.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    for name in parts:
        load_before = os.getloadavg()[0]
        rows = PARTS[name].measure(scale)
        sys.stdout.write(f"{name}\n{_lines(rows)}\n")
        sys.stdout.flush()
        if arguments.json:
            write_result(
                arguments.json, read_result(arguments.json) | {name: measurement(rows, load_before=load_before)}
            )
    if arguments.page:
        result = read_result(arguments.json)
        page.rewrite(arguments.page, result)
        arguments.page.with_suffix(".svg").write_text(picture.draw(result), encoding="utf-8")
    return 0


def _print_progress(sentence: str) -> None:
    """Print progress if stderr is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{sentence}")
        sys.stderr.flush()


def _lines(rows: Rows) -> str:
    return "".join(
        f"  {subject}\n"
        + "".join(
            f"    {measure:<32} {found.value:>10g} {found.unit:<3} ({found.low:g} to {found.high:g})"
            f"{'' if found.reached is None else '  reached' if found.reached else '  not reached'}\n"
            for measure, found in measures.items()
        )
        for subject, measures in rows.items()
    )


if __name__ == "__main__":
    sys.exit(main())
