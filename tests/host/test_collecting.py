"""Garbage is collected so that nobody waits for it long."""

import subprocess
import sys

PROGRAM = """
import gc
from maven_channel_wecom.host.collecting import spare_callers

before = len(gc.get_objects())
by_default = gc.get_threshold()
spare_callers()
assert len(gc.get_objects()) < before / 10, len(gc.get_objects())
assert gc.get_threshold()[0] == by_default[0]
assert gc.get_threshold()[1] * gc.get_threshold()[2] > by_default[1] * by_default[2]
"""


def test_a_full_collection_leaves_what_was_imported_alone_and_comes_rarely() -> None:
    """In a process of its own, as this is a setting of the process."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True)  # noqa: S603 - ours
    assert ended.returncode == 0, ended.stderr
