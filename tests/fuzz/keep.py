"""Choose which inputs of a target are worth keeping.

python -m tests.fuzz.keep envelope

Goes through tests/fuzz/corpora and what fuzzing left under .fuzz, the smallest first, and keeps in tests/fuzz/corpora
those that take the code from some line to another as no smaller one did, or more than once.
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

_WATCHED = tuple(folder for package in (maven_channel_wecom, filetype) for folder in package.__path__)

Step = tuple[str, int, int, bool]


def steps(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Return the steps from line to line that a target makes: file, both lines, and whether more than once."""
    made: Counter[tuple[str, int, int]] = Counter()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401 - as sys.settrace has it
        if not frame.f_code.co_filename.startswith(_WATCHED):
            return None
        if event == "line":
            made[frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno] += 1
            last[frame] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return {(*step, times > 1) for step, times in made.items()}


def main() -> None:
    """Rewrite the corpus of a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    target: str = parser.parse_args().target
    corpus = CORPORA / target
    inputs = {path.read_bytes() for folder in (corpus, FOUND / target) if folder.is_dir() for path in folder.iterdir()}
    for path in corpus.iterdir():
        path.unlink()
    seen: set[Step] = set()
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        made = steps(TARGETS[target], data)
        if not made <= seen:
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        seen |= made
    sys.stdout.write(f"{target}: {len(list(corpus.iterdir()))} of {len(inputs)} inputs kept, {len(seen)} steps\n")


if __name__ == "__main__":
    main()
