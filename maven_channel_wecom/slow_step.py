"""Tells the person at a terminal what a command is waiting for."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

SLOW_SECONDS: Final = 2.0
"""How long a command may be silent, in seconds. Lower: a sentence for what is nearly done. Higher: it seems to hang."""


class SlowStep:
    """A context manager that prints a sentence if its body takes long. Only on a terminal: in a log it is noise.

    Args:
        sentence: what is being done.
        stream: where to print; stderr by default.
        after: seconds until the sentence is printed.
    """

    def __init__(self, sentence: str, *, stream: TextIO | None = None, after: float = SLOW_SECONDS) -> None:
        self._line = f"maven-wecom: {sentence}\n"
        self._stream = sys.stderr if stream is None else stream
        self._timer = threading.Timer(after, self._print)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _print(self) -> None:
        self._stream.write(self._line)
        self._stream.flush()
