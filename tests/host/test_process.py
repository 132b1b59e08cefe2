"""What a host asks of its process."""

from __future__ import annotations

import resource
import subprocess
import sys

# Whether a module can be imported is decided before anything else is, so each in a process of its own.
ASK = "import sys; {}; from maven_channel_wecom.host import process; print(process.event_loop())"

TUNED = """
import gc
from maven_channel_wecom.host.process import tune_garbage_collection

before = len(gc.get_objects())
by_default = gc.get_threshold()
tune_garbage_collection()
assert len(gc.get_objects()) < before / 10, len(gc.get_objects())
assert gc.get_threshold()[0] == by_default[0]
assert gc.get_threshold()[1] * gc.get_threshold()[2] > by_default[1] * by_default[2]
"""


def answer(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return done.stdout.strip()


def test_the_fast_event_loop_is_used_where_it_is_installed() -> None:
    """Installing it is all there is to do."""
    assert "new_event_loop" in answer(ASK.format("pass"))


def test_without_it_asyncio_does() -> None:
    """The extra is one."""
    assert answer(ASK.format("sys.modules['uvloop'] = None")) == "None"


def test_more_files_may_be_open_than_the_system_begins_with() -> None:
    """As many as wanted, or as the process may have."""
    code = (
        "import resource; from maven_channel_wecom.host import process; "
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)); "
        "process.allow_open_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(answer(code)) == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


def test_a_full_collection_leaves_what_was_imported_alone_and_comes_rarely() -> None:
    assert answer(TUNED) == ""
