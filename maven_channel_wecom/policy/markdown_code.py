"""Code fences and code spans of a markdown text, as CommonMark defines them."""

import re
from typing import Final

# A line of up to three spaces, at least three backticks or tildes, and an info string. Rendering repeats the mark in
# every part of an answer, so one longer than any real one is ignored.
_FENCE: Final = re.compile(r"(?<![^\r\n])(?P<indent> {0,3})(?P<mark>`{3,32}|~{3,32})(?P<info>[^\r\n]*)")

# What may open code: the beginning of a fence, or a run of backticks.
_MARK: Final = re.compile(r"(?<![^\r\n]) {0,3}(?:`{3,}|~{3,})|(?P<run>`+)")
_RUN: Final = re.compile("`+")

# A blank line or a fence. No code span goes beyond it.
_END_OF_PARAGRAPH: Final = re.compile(r"\n[ \t\r]*\n|\r[ \t]*\r|(?<=[\r\n]) {0,3}(?:```|~~~)")


def open_fence(text: str) -> re.Match[str] | None:
    """Return the line that opens the code fence still open at the end of a text, or None.

    The groups of the match are `indent`, `mark` and `info`.
    """
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            if _opens(fence):
                opened = fence
        elif _closes(fence, opened):
            opened = None
    return opened


class CodeScanner:
    """Finds out which positions of a text are code. All positions together take time linear in the text's length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scanned = 0
        self._end_of_paragraph = 0
        self._last_runs: dict[int, int] = {}
        self._has_unequal_run = False

    @property
    def may_be_code(self) -> bool:
        """Whether more text could make the last position code: a run of backticks before it has no equal one yet."""
        return self._has_unequal_run and self._end_of_paragraph == len(self._text)

    def end(self, position: int) -> int:
        """Return the end of the code around a position, or the position itself outside of code.

        Positions must ascend, and none may be within a run of backticks or tildes.
        """
        while self._scanned < position and (mark := _MARK.search(self._text, self._scanned, position)):
            self._scanned = self._end_of_code(mark)
        self._scanned = max(self._scanned, position)
        return self._scanned

    def skip(self, position: int) -> None:
        """Ignore every mark before a position."""
        self._scanned = max(self._scanned, position)

    def _end_of_code(self, mark: re.Match[str]) -> int:
        """Return the end of the code that a mark opens, or the end of the mark if it opens none."""
        fence = None if mark["run"] else _FENCE.match(self._text, mark.start())
        if fence and _opens(fence):
            fences = _FENCE.finditer(self._text, fence.end())
            return next((each.end() for each in fences if _closes(each, fence)), len(self._text))
        return self._end_of_span(fence.start("mark") if fence else mark.start(), mark.end())

    def _end_of_span(self, start: int, end: int) -> int:
        """Return the end of the code span that a run of backticks opens, or the end of the run if it opens none."""
        if start >= self._end_of_paragraph:
            found = _END_OF_PARAGRAPH.search(self._text, end)
            self._end_of_paragraph = found.start() if found else len(self._text)
            runs = _RUN.finditer(self._text, start, self._end_of_paragraph)
            self._last_runs = {run.end() - run.start(): run.start() for run in runs}
            self._has_unequal_run = False
        # Otherwise each of many runs without an equal one would be compared with all that follow.
        if self._last_runs[end - start] == start:
            self._has_unequal_run = True
            return end
        runs = _RUN.finditer(self._text, end, self._end_of_paragraph)
        return next(run.end() for run in runs if run.end() - run.start() == end - start)


def _opens(fence: re.Match[str]) -> bool:
    """Return whether a line opens a fence. The info string after backticks must not contain one."""
    return fence["mark"][0] != "`" or "`" not in fence["info"]


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    return not fence["info"].strip() and fence["mark"].startswith(opened["mark"])
