"""Runs a command line so that closed or full outputs, errors of the system and Ctrl-C never end in a traceback."""

from __future__ import annotations

import io
import os
import signal
import sys

# Not from typing, which takes as long to import as everything else here: until `prepare`, Ctrl-C prints a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_SYSTEM_ERROR = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_OUTPUT_CLOSED = 128 + signal.SIGPIPE
"""The code of a program that a closed pipe ended, as shells report it: `maven-wecom schema | head -1`."""

_STANDARD_STREAMS = 3


class OutputLost(SystemExit):
    """The output cannot be written, so the command ends.

    A SystemExit, because asyncio lets only that pass out of any task, and cancels the others.
    """


def prepare() -> None:
    """Prepare the process for `run`. Call this before long imports: from here on, Ctrl-C ends them silently."""
    # A shell starts background jobs with SIGINT ignored, and so it stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(sys.stdout, ends_command=True)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Output(sys.stderr, ends_command=False)


def run(main: Callable[[], int]) -> int:
    """Run a command and return its exit code, or EXIT_INTERRUPTED after Ctrl-C.

    An error of the system that the command does not handle, such as a full disk or too many open files, is a sentence
    on stderr and EXIT_SYSTEM_ERROR.
    """
    try:
        try:
            if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            return main()
        finally:
            # While the interpreter shuts down, nothing could handle a KeyboardInterrupt.
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        name = f": {error.filename!r}" if error.filename else ""
        sys.stderr.write(f"maven-wecom: the system reports an error: {error.strerror or type(error).__name__}{name}\n")
        return EXIT_SYSTEM_ERROR


class _Output(io.TextIOWrapper):
    """A standard stream that loses what cannot be written. Characters it cannot encode are written as escapes.

    Args:
        stream: the stream, which cannot be used afterwards.
        ends_command: whether the first failure raises OutputLost: with EXIT_OUTPUT_CLOSED if nobody reads the output,
            otherwise with EXIT_SYSTEM_ERROR after a sentence on stderr.
    """

    def __init__(self, stream: io.TextIOWrapper, *, ends_command: bool) -> None:
        encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
        super().__init__(
            stream.detach(), encoding, errors="backslashreplace", line_buffering=by_line, write_through=at_once
        )
        self._ends_command = ends_command
        self._lost = False

    def write(self, text: str) -> int:
        """Write a text."""
        if not self._lost:
            try:
                super().write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        if not self._lost:
            try:
                super().flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not self._ends_command:
            return
        self._lost = True
        # The interpreter flushes what is still buffered when it exits, which must not fail again.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor follows
            os.dup2(nowhere.fileno(), self.fileno())
        if isinstance(error, BrokenPipeError):
            raise OutputLost(EXIT_OUTPUT_CLOSED)
        sys.stderr.write(f"maven-wecom: the output cannot be written: {error.strerror}\n")
        raise OutputLost(EXIT_SYSTEM_ERROR)


def _open_closed_streams() -> None:
    """Open /dev/null as every standard stream that is closed. A socket would get its number, and uvloop would abort."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _STANDARD_STREAMS:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the function has no keyword
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115 - a descriptor, for the whole process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
