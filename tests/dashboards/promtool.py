"""Runs promtool, the command line tool of Prometheus."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def promtool(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool and return the completed process, whatever its exit code."""
    command = shutil.which("promtool")
    if command is None:
        message = "these tests need promtool: apt-get install prometheus"
        raise RuntimeError(message)
    return subprocess.run(  # noqa: S603 - our own command line
        [command, *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False
    )
