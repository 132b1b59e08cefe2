"""The command line: which commands there are, and what it costs to ask."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from maven_channel_wecom.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version of the distribution."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"maven-channel-wecom {version('maven-channel-wecom')}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["gateway"]], ids=["nothing", "unknown", "no configuration"])
def test_a_wrong_command_line_exits_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """With the usage on stderr."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: maven-wecom")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What one can do is one question away."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("gateway", "simulator", "demo"))


def test_importing_the_command_line_loads_no_command() -> None:
    """Asking for the version starts no HTTP library."""
    code = "import sys, maven_channel_wecom.cli; print([name for name in sys.modules if name.startswith('aiohttp')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 -- our own interpreter
    assert done.stdout == "[]\n"
