"""The process-wide settings of a host."""

from __future__ import annotations

import resource
import subprocess
import sys

# In a separate process, because whether uvloop can be imported must be decided before the first import.
PRINT_EVENT_LOOP = "import sys; {}; from maven_channel_wecom.host import process; print(process.event_loop())"

CHECK_GARBAGE_COLLECTION = """
import gc
from maven_channel_wecom.host.process import tune_garbage_collection

before = len(gc.get_objects())
by_default = gc.get_threshold()
tune_garbage_collection()
assert len(gc.get_objects()) < before / 10, len(gc.get_objects())
assert gc.get_threshold()[0] == by_default[0]
assert gc.get_threshold()[1] * gc.get_threshold()[2] > by_default[1] * by_default[2]
"""


def output_of(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    return process.stdout.strip()


def test_uvloop_is_used_if_it_is_installed() -> None:
    assert "new_event_loop" in output_of(PRINT_EVENT_LOOP.format("pass"))


def test_asyncios_event_loop_is_used_without_uvloop() -> None:
    assert output_of(PRINT_EVENT_LOOP.format("sys.modules['uvloop'] = None")) == "None"


def test_the_limit_of_open_files_is_raised_as_far_as_allowed() -> None:
    code = (
        "import resource; from maven_channel_wecom.host import process; "
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)); "
        "process.allow_open_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(output_of(code)) == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


def test_full_collections_are_rarer_and_skip_imported_objects() -> None:
    assert output_of(CHECK_GARBAGE_COLLECTION) == ""
