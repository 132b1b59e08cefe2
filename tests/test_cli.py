"""Tests for the command line: its commands, its exit codes and its imports."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from maven_channel_wecom.cli import main


def test_the_option_version_prints_the_version_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"maven-channel-wecom {version('maven-channel-wecom')}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["gateway"]], ids=["nothing", "unknown", "no configuration"])
def test_a_wrong_command_line_prints_the_usage_and_exits_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: maven-wecom")


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(
        name in printed for name in ("gateway", "doctor", "chat", "init", "simulator", "demo", "playground", "schema")
    )


def test_importing_the_command_line_does_not_import_the_commands() -> None:
    """Printing the version imports no HTTP library."""
    code = "import sys, maven_channel_wecom.cli; print([name for name in sys.modules if name.startswith('aiohttp')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    assert done.stdout == "[]\n"
