"""Limits the number of files a reader must open to follow one message through the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.main_path import MainPath, table

# Lower: the next stage that needs its own file fails here. Higher: files can be split further unnoticed.
MAX_FILES_IN = 27
MAX_FILES_OUT = 23


@pytest.fixture(scope="module")
def path() -> MainPath:
    """Trace the paths in a separate process, without the log level and the tracing SDK that the test suite sets."""
    command = [sys.executable, "-m", "tests.house.main_path", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
    return MainPath(**json.loads(done.stdout))


def test_an_inbound_message_passes_few_files(path: MainPath) -> None:
    assert len(path.inward) <= MAX_FILES_IN, table("from the socket to publish", path.inward)


def test_an_outbound_answer_passes_few_files(path: MainPath) -> None:
    assert len(path.outward) <= MAX_FILES_OUT, table("from maven_outbound_send to its receipt", path.outward)


def test_the_inbound_path_begins_in_the_server_and_the_outbound_path_at_the_hook(path: MainPath) -> None:
    assert next(iter(path.inward)).startswith("server/")
    assert {"inbound.py", "inbox.py", "plugin.py", "protocol/envelope.py"} <= set(path.inward)
    assert next(iter(path.outward)) == "plugin.py"
    assert {"outbound.py", "policy/rendering.py", "policy/delivery.py"} <= set(path.outward)
