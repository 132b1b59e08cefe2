"""Minimize the corpus of a fuzz target.

python -m tests.fuzz.keep envelope

Reads the inputs in tests/fuzz/corpora and those that fuzzing left in .fuzz, the smallest first. An input is kept in
tests/fuzz/corpora if it covers an edge between two lines that no smaller input covers, or covers one repeatedly for the
first time.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import filetype

import maven_channel_wecom
from tests.fuzz.targets import CORPORA, FOUND, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_TRACED = tuple(folder for package in (maven_channel_wecom, filetype) for folder in package.__path__)

Edge = tuple[str, int, int, bool]


def covered_edges(target: Callable[[bytes], None], data: bytes) -> set[Edge]:
    """Return the edges that an input covers: the file, both lines, and whether it was covered more than once."""
    counts: Counter[tuple[str, int, int]] = Counter()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401 - as sys.settrace has it
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        if event == "line":
            counts[frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno] += 1
            last[frame] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return {(*edge, count > 1) for edge, count in counts.items()}


def main() -> None:
    """Rewrite the corpus of a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    target: str = parser.parse_args().target
    corpus = CORPORA / target
    inputs = {path.read_bytes() for folder in (corpus, FOUND / target) if folder.is_dir() for path in folder.iterdir()}
    for path in corpus.iterdir():
        path.unlink()
    covered: set[Edge] = set()
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        edges = covered_edges(TARGETS[target], data)
        if not edges <= covered:
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        covered |= edges
    sys.stdout.write(f"{target}: {len(list(corpus.iterdir()))} of {len(inputs)} inputs kept, {len(covered)} edges\n")


if __name__ == "__main__":
    main()
