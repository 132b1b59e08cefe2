"""Runs the doctor in the test process, and searches everything that it prints for secrets."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.doctor import command
from maven_channel_wecom.doctor.probing import UrlProbe
from tests.doctor.faulty_bots import CANARIES
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Diagnosis:
    """The exit code and the checks of one run with `--json`."""

    exit_code: int
    checks: list[dict[str, str]]

    def outcome(self, name: str) -> str:
        return self._one(name)["outcome"]

    def detail(self, name: str) -> str:
        return self._one(name)["detail"]

    def names(self) -> list[str]:
        return [check["name"] for check in self.checks]

    def _one(self, name: str) -> dict[str, str]:
        (found,) = (check for check in self.checks if check["name"] == name)
        return found


@dataclass
class Doctor:
    """Runs the command in this process, with a clock that only the test moves."""

    capsys: pytest.CaptureFixture[str]
    clock: FakeClock = field(default_factory=lambda: FakeClock(time.time()))

    async def run(self, path: Path, *more: str, **probe: Any) -> tuple[int, str, str]:  # noqa: ANN401 - passed to UrlProbe
        """Return exit code, stdout and stderr. `probe` holds further arguments of UrlProbe."""
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        args = parser.parse_args(["--config", str(path), *more])
        code = await asyncio.to_thread(command.main, args, UrlProbe(self.clock, **probe))
        out, err = self.capsys.readouterr()
        assert [canary for canary in CANARIES if canary in out + err] == []
        return code, out, err

    async def diagnose(self, path: Path, *more: str, **probe: Any) -> Diagnosis:  # noqa: ANN401 - passed to UrlProbe
        code, out, err = await self.run(path, "--json", *more, **probe)
        assert err == ""
        printed = json.loads(out)
        assert printed.keys() == {"ok", "checks"}
        assert (code == 0) == printed["ok"] == all(check["outcome"] != "fail" for check in printed["checks"])
        return Diagnosis(code, printed["checks"])


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(capsys)
