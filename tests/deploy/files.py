"""The files in `deploy/`, and the tools that check them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.suite_watch import new_encoding_aes_key, new_token

DEPLOY = Path(__file__).parents[2] / "deploy"


def check(tool: str, *arguments: str | Path) -> str:
    """Run a tool of the virtual environment, or of the system, that must find nothing. Return what it prints."""
    installed = Path(sys.executable).parent / tool
    command = [str(installed) if installed.exists() else tool, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the tests' own words
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_yaml(name: str) -> Any:  # noqa: ANN401 - any document
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def read_json(name: str) -> Any:  # noqa: ANN401 - any document
    return json.loads((DEPLOY / name).read_text(encoding="utf-8"))


def console_lines(section: str) -> list[str]:
    """Return the commands in a section of docs/deploy.md."""
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text(encoding="utf-8").replace("\\\n", "")
    return re.findall(r"^\$ (.*)$", page.partition(f"\n## {section}\n")[2].partition("\n## ")[0], re.MULTILINE)


def run_lines(lines: list[str], folder: Path) -> None:
    """Run commands of docs/deploy.md in a folder of the test, with a new token and key."""
    environment = {
        "WECOM_TOKEN": new_token(),
        "WECOM_ENCODING_AES_KEY": new_encoding_aes_key(),
        "PATH": os.environ["PATH"],
    }
    subprocess.run(["/bin/sh", "-ec", "\n".join(lines)], cwd=folder, env=environment, check=True)  # noqa: S603 - ours


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the last stage of the Dockerfile, each with its arguments on one line."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return [(line.partition(" ")[0], " ".join(line.partition(" ")[2].split())) for line in lines[last:]]


def may_create_namespaces() -> bool:
    """Return whether this user may create mount and network namespaces."""
    command = shutil.which("unshare")
    return (
        os.geteuid() == 0
        and command is not None
        and not subprocess.run([command, "--mount", "--net", "true"], capture_output=True, check=False).returncode  # noqa: S603 - ours
    )
