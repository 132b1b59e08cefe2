"""A process that remembers turns in a file until it is killed, and prints the session of each.

Run as `python -m tests.host.remember_until_killed PATH`. It ends with an error if the file cannot be used.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from maven_channel_wecom.host.memory_file import MemoryFile
from tests.host.test_memory_store import NOW, conversation, put


async def remember_until_killed(path: str) -> None:
    """Print each session on its own line once its conversation is stored."""
    store = await MemoryFile(Path(path), lambda: NOW).open()
    for number in itertools.count():
        await put(store, str(number), conversation("x" * 10_000))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(remember_until_killed(sys.argv[1]))
