"""Listens to the whole suite: what any test, program or failing assertion shows, no canary may be among it.

A plugin of pytest; `conftest.py` takes it in. A test that draws a secret, or shows somebody something that pytest does
not capture, says so with `keep`, `new_token`, `new_encoding_aes_key` and `shown`.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final, cast

import pytest

from maven_channel_wecom.simulator import keys
from tests.e2e.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

CANARY: Final = "canary"
"""Stands in every secret and every private text that tests make up."""

# A secret of the simulator, when nothing is written against it.
_WORD: Final = re.compile(r"[A-Za-z0-9]{20,}")

_LEAKED: Final = "what must not be shown was shown: "


class SuiteWatch:
    """Has a watch for each test, and at the end compares what all of them kept with what all of them saw.

    Within a test every canary is looked for as it is. Over the whole suite only secrets are, as words: that is one
    look into a set for each word, and finds what a test shows of the secrets of another.
    """

    def __init__(self) -> None:
        self.watch = Watch()
        self._secrets: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self.of_workers: list[str] = []
        """What the workers of pytest-xdist found, each in the tests it ran."""

    def begin(self) -> None:
        """Watch a new test."""
        self.watch = Watch()
        self.watch.keep("a canary", CANARY)

    def end(self, test: str) -> list[str]:
        """Return what the test showed of what it kept."""
        self._secrets |= {canary: kind for canary, kind in self.watch.canaries.items() if _WORD.fullmatch(canary)}
        for where, text in self.watch.shown_so_far:
            self._words |= dict.fromkeys(_WORD.findall(text), f"{where} of {test}")
        return self.watch.leaks()

    def leaks(self) -> list[str]:
        """Return what any test showed of what any other kept."""
        own = [f"{self._secrets[word]} in {self._words[word]}" for word in self._secrets.keys() & self._words]
        return sorted(own + self.of_workers)

    def redact(self, text: str) -> str:
        """Put the kind of each canary in its place."""
        for canary, kind in sorted(self.watch.canaries.items(), key=lambda one: len(one[0]), reverse=True):
            text = text.replace(canary, f"[{kind}]")
        return text


SUITE: Final = SuiteWatch()


def keep(kind: str, *canaries: str) -> None:
    """Let these show nowhere while the test runs."""
    SUITE.watch.keep(kind, *canaries)


def shown(where: str, text: str) -> str:
    """Note what was shown to somebody, and return it."""
    SUITE.watch.shown(where, text)
    return text


def new_token() -> str:
    """Return a token that must show nowhere."""
    token = keys.new_token()
    keep("a token", token)
    return token


def new_encoding_aes_key() -> str:
    """Return an EncodingAESKey that must show nowhere."""
    key = keys.new_encoding_aes_key()
    keep("an EncodingAESKey", key)
    return key


class _Overheard:
    """What `capsys` is, and the watch hears what is read from it."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def readouterr(self) -> object:
        captured = self._capture.readouterr()
        shown("the output", captured.out)
        shown("the error output", captured.err)
        return captured


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    overheard = _Overheard(capsys)
    yield cast("pytest.CaptureFixture[str]", overheard)
    overheard.readouterr()


@pytest.fixture
def watch() -> Watch:
    """Return the watch of this test."""
    return SUITE.watch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Hear every log record from before the first fixture until after the last."""
    SUITE.begin()
    watch, root = SUITE.watch, logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    try:
        return (yield)
    finally:
        root.removeHandler(watch)
        root.setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that showed a canary, and take every canary out of what pytest prints."""
    report = yield
    if call.when == "teardown":
        for title, text in report.sections:
            # Log records were heard as a host prints them; pytest prints texts of exceptions that no host prints.
            if " log " not in title:
                shown(title.lower(), text)
        if leaks := SUITE.end(item.nodeid):
            report.outcome, report.longrepr = "failed", _LEAKED + ", ".join(leaks)
    # A failure without a canary keeps its colors, and its line in the summary.
    if report.failed and (redacted := SUITE.redact(report.longreprtext)) != report.longreprtext:
        report.longrepr = redacted
    report.sections = [(title, SUITE.redact(text)) for title, text in report.sections]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run when a test showed a secret of another; a worker tells whoever started it."""
    leaks = SUITE.leaks()
    if leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leaks"] = leaks


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Hear what a worker found; one that crashed fails the run by itself."""
    SUITE.of_workers += getattr(node, "workeroutput", {}).get("leaks", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say so."""
    if leaks := SUITE.leaks():
        terminalreporter.section("canaries")
        terminalreporter.write_line(_LEAKED + ", ".join(leaks))
