"""How many files of the package a reader must open to follow one message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.main_path import MainPath, table

# Lower: the next step that needs a file of its own fails here. Higher: files can be cut smaller unnoticed.
MAX_FILES_IN = 23
MAX_FILES_OUT = 18


@pytest.fixture(scope="module")
def path() -> MainPath:
    """Return both ways as they are in a process of its own: without the log level and the tracing SDK of the suite."""
    command = [sys.executable, "-m", "tests.house.main_path", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr
    return MainPath(**json.loads(done.stdout))


def test_a_message_comes_in_through_few_files(path: MainPath) -> None:
    assert len(path.inward) <= MAX_FILES_IN, table("from the socket to publish", path.inward)


def test_an_answer_goes_out_through_few_files(path: MainPath) -> None:
    assert len(path.outward) <= MAX_FILES_OUT, table("from maven_outbound_send to its receipt", path.outward)


def test_the_way_in_begins_at_the_port_and_the_way_out_at_the_hook(path: MainPath) -> None:
    assert next(iter(path.inward)).startswith("server/")
    assert {"inbound.py", "inbox.py", "plugin.py", "protocol/envelope.py"} <= set(path.inward)
    assert next(iter(path.outward)) == "plugin.py"
    assert {"outbound.py", "policy/rendering.py", "policy/delivery.py"} <= set(path.outward)
