"""Prometheus's own tool, as a test calls it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def promtool(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it and return what it said."""
    command = shutil.which("promtool")
    if command is None:
        message = "these tests need promtool: apt-get install prometheus"
        raise RuntimeError(message)
    return subprocess.run(  # noqa: S603 - our own command line
        [command, *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False
    )
