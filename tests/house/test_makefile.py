"""Tests of the Makefile."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def make(*arguments: str) -> list[str]:
    """Return what make prints, line by line.

    It runs without the variables that make gives its commands, as a make inside of make also prints its folder.
    """
    command = ["/usr/bin/make", *arguments]
    environment = {"PATH": os.defpath}
    return subprocess.check_output(command, cwd=ROOT, env=environment, text=True).splitlines()  # noqa: S603 - our own


def test_make_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][a-z%-]*):", MAKEFILE, re.MULTILINE)
    assert [line.split()[0] for line in make("help")] == targets


def test_help_is_what_make_alone_shows() -> None:
    """Nothing is installed before someone asks for it."""
    assert re.findall(r"^([a-z][a-z%-]*):", MAKEFILE, re.MULTILINE)[0] == "help"


def test_make_init_passes_options_on_and_names_no_next_step_if_there_is_none() -> None:
    assert make("-n", "init", "ARGS=--progress stream --start")[-1].endswith(" --progress stream --start")
    assert make("-n", "init", "ARGS=--help")[-1].endswith(" --help")
    assert make("-n", "init", "ARGS=--progress stream")[-1] == 'echo "In this folder, step 4 is: make gateway"'


def test_the_environment_is_installed_even_if_every_standard_stream_is_closed(tmp_path: Path) -> None:
    """pip, which would end in a traceback, is here a script that fails without them."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nfor n in 0 1 2; do [ -e /dev/fd/$n ] || exit 7; done\n", encoding="utf-8")
    python.chmod(0o755)
    line = f'PYTHON="{python}" exec .ci/environment "{tmp_path}" <&- >&- 2>&-'
    assert subprocess.run(["/bin/bash", "-c", line], cwd=ROOT, check=False).returncode == 0  # noqa: S603 - our own


def test_the_targets_named_in_the_guide_for_contributors_exist() -> None:
    targets = re.findall(r"^([a-z][a-z%-]*):", MAKEFILE, re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert set(named) <= set(targets)
