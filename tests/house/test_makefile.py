"""Tests of the Makefile."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_make_help_lists_every_target() -> None:
    # Without the variables that make gives its commands, with which a make inside of make also prints its folder.
    environment = {"PATH": os.defpath}
    done = subprocess.run(
        ["/usr/bin/make", "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    targets = re.findall(r"^([a-z][a-z%-]*):", MAKEFILE, re.MULTILINE)
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets


def test_help_is_what_make_alone_shows() -> None:
    """Nothing is installed before someone asks for it."""
    assert re.findall(r"^([a-z][a-z%-]*):", MAKEFILE, re.MULTILINE)[0] == "help"


def test_the_targets_named_in_the_guide_for_contributors_exist() -> None:
    targets = re.findall(r"^([a-z][a-z%-]*):", MAKEFILE, re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert set(named) <= set(targets)
