"""A million ids on each durable state: what this process grows by, and the longest pause while they expire.

python -m tests.proofs.million --ids 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.state.opening import open_state
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback
from tests.proofs.replicas import durable_redis

if TYPE_CHECKING:
    from maven_channel_wecom.state.port import StateStore

_AT_ONCE = 200
_START = 1_700_000_000.0
_MEGABYTE = 1_000_000
_AFTER = 20_000


def resident_bytes() -> int:
    """Return the memory this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


async def admit_all(state: StateStore, *, first: int, ids: int, now: float) -> float:
    """Admit and finish that many messages; return the longest time the event loop was away, in seconds."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began - 0.001)

    async def one(number: int) -> None:
        message_id = f"{number:032x}"
        await state.admit(KeptCallback(message_id, "chat", now, b"{}"), None, now)
        await state.finish(message_id, now)

    watching = asyncio.create_task(watch())
    for start in range(first, first + ids, _AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(start, min(start + _AT_ONCE, first + ids))))
    watching.cancel()
    return longest


async def measure(address: str, *, ids: int) -> str:
    """Return a line with what one state costs."""
    state = await open_state(address, channel="proof")
    await admit_all(state, first=0, ids=1000, now=_START)
    gc.collect()
    idle = resident_bytes()
    await admit_all(state, first=1000, ids=ids, now=_START)
    gc.collect()
    grown = resident_bytes() - idle
    # An hour later everything has expired, and goes while new messages come.
    longest = await admit_all(state, first=1000 + ids, ids=_AFTER, now=_START + CLAIM_SECONDS + 1)
    await state.close()
    return f"{grown / _MEGABYTE:.1f} MB above idle, longest pause {longest * 1000:.1f} ms while they expire"


async def run(folder: Path, *, ids: int) -> None:
    """Measure each state and print a line for it."""
    with durable_redis() as redis:
        for name, address in (("sqlite:", f"sqlite:{folder / 'state.db'}"), ("redis:", redis.address())):
            sys.stdout.write(f"{name:<8} {ids} ids: {await measure(address, ids=ids)}\n")
            sys.stdout.flush()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, default=1_000_000)
    ids: int = parser.parse_args().ids
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), ids=ids))
    return 0


if __name__ == "__main__":
    sys.exit(main())
