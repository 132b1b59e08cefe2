"""A pytest plugin that fails tests in which a canary, a secret or private text, appears in any output.

It checks logs, output, traces and the reports of pytest itself. `conftest.py` imports its hooks. A test registers its
secrets with `register`, `new_token` and `new_encoding_aes_key`, and passes output that pytest does not capture to
`record_output`.
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
"""Part of every made-up secret and private text in the tests."""

# Matches a secret of the simulator, if no letter or digit is next to it.
_WORD: Final = re.compile(r"[A-Za-z0-9]{20,}")

_LEAKED: Final = "a canary leaked: "


class SuiteWatch:
    """Collects the output and the canaries of each test, and compares those of all tests at the end.

    Within a test, every canary is searched for as a substring. Across tests, only secrets are searched for, as whole
    words, which takes one set lookup per word and finds a secret of one test in the output of another.
    """

    def __init__(self) -> None:
        self.watch = Watch()
        self._secrets: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self.worker_leaks: list[str] = []
        """The leaks that the workers of pytest-xdist reported, each for the tests it ran."""

    def begin(self) -> None:
        """Start to watch a new test."""
        self.watch = Watch()
        self.watch.register("a canary", CANARY)

    def end(self, test: str) -> list[str]:
        """End the current test, and return the leaks of its own canaries."""
        self._secrets |= {canary: kind for canary, kind in self.watch.canaries.items() if _WORD.fullmatch(canary)}
        for where, text in self.watch.recorded_output:
            self._words |= dict.fromkeys(_WORD.findall(text), f"{where} of {test}")
        return self.watch.leaks()

    def leaks(self) -> list[str]:
        """Return the leaks of secrets of any test in the output of any other."""
        own = [f"{self._secrets[word]} in {self._words[word]}" for word in self._secrets.keys() & self._words]
        return sorted(own + self.worker_leaks)

    def redact(self, text: str) -> str:
        """Return the text with each canary replaced by its kind."""
        for canary, kind in sorted(self.watch.canaries.items(), key=lambda item: len(item[0]), reverse=True):
            text = text.replace(canary, f"[{kind}]")
        return text


SUITE: Final = SuiteWatch()


def register(kind: str, *canaries: str) -> None:
    """Register texts that must not appear in the output of this test."""
    SUITE.watch.register(kind, *canaries)


def record_output(where: str, text: str) -> str:
    """Record output that pytest does not capture, and return it."""
    SUITE.watch.record_output(where, text)
    return text


def new_token() -> str:
    """Return a new token, registered as a secret."""
    token = keys.new_token()
    register("a token", token)
    return token


def new_encoding_aes_key() -> str:
    """Return a new EncodingAESKey, registered as a secret."""
    key = keys.new_encoding_aes_key()
    register("an EncodingAESKey", key)
    return key


class _WatchedCapture:
    """Replaces `capsys`, and records everything that is read from it."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def readouterr(self) -> object:
        captured = self._capture.readouterr()
        record_output("the output", captured.out)
        record_output("the error output", captured.err)
        return captured


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    watched = _WatchedCapture(capsys)
    yield cast("pytest.CaptureFixture[str]", watched)
    watched.readouterr()


@pytest.fixture
def watch() -> Watch:
    """Return the watch of this test."""
    return SUITE.watch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Record every log record from before the first fixture until after the last."""
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
    """Fail a test that showed a canary, and replace every canary in the output of pytest."""
    report = yield
    if call.when == "teardown":
        for title, text in report.sections:
            # Log records were recorded as a host prints them; pytest also prints exception texts that no host prints.
            if " log " not in title:
                record_output(title.lower(), text)
        if leaks := SUITE.end(item.nodeid):
            report.outcome, report.longrepr = "failed", _LEAKED + ", ".join(leaks)
    # A failure without a canary is not replaced, to keep its colors and its line in the summary.
    if report.failed and (redacted := SUITE.redact(report.longreprtext)) != report.longreprtext:
        report.longrepr = redacted
    report.sections = [(title, SUITE.redact(text)) for title, text in report.sections]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a test showed a secret of another. A worker reports its leaks to the main process."""
    leaks = SUITE.leaks()
    if leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leaks"] = leaks


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Collect the leaks that a worker reports. A worker that crashed fails the run anyway."""
    SUITE.worker_leaks += getattr(node, "workeroutput", {}).get("leaks", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report leaks across tests."""
    if leaks := SUITE.leaks():
        terminalreporter.section("canaries")
        terminalreporter.write_line(_LEAKED + ", ".join(leaks))
