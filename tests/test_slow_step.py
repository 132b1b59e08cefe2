"""Tests of the sentence that says what a command is waiting for."""

from __future__ import annotations

import io
import threading

from maven_channel_wecom.slow_step import SlowStep

LONG = 60.0


class Terminal(io.StringIO):
    """A stream that is a terminal, or is none, and knows when something was printed."""

    def __init__(self, *, is_terminal: bool = True) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.printed = threading.Event()

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        self.printed.set()


def test_what_takes_long_is_named() -> None:
    terminal = Terminal()
    with SlowStep("checking the agent", stream=terminal, after=0):
        assert terminal.printed.wait(LONG)
    assert terminal.getvalue() == "maven-wecom: checking the agent\n"


def test_what_is_done_in_time_is_not_named() -> None:
    terminal = Terminal()
    with SlowStep("checking the agent", stream=terminal, after=LONG):
        pass
    assert terminal.getvalue() == ""


def test_nothing_is_printed_where_there_is_no_terminal() -> None:
    before = threading.active_count()
    with SlowStep("checking the agent", stream=Terminal(is_terminal=False), after=0):
        assert threading.active_count() == before
