"""A process that admits messages to a state file in batches until it is killed, and prints the id of each.

Run as `python -m tests.state.admit_until_killed PATH PREFIX`.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from maven_channel_wecom.state.backends import open_state
from tests.state.messages import admission

BATCH = 8


async def admit_until_killed(path: str, prefix: str) -> None:
    """Print each message id on its own line once the message is admitted."""
    state = await open_state(f"sqlite:{path}", channel="wecom")
    numbers = itertools.count()
    while True:
        now = time.time()
        batch = [admission(f"{prefix}-{next(numbers)}", now) for _ in range(BATCH)]
        new = await state.admit(batch, now)
        for admitted, is_new in zip(batch, new, strict=True):
            if is_new:
                sys.stdout.write(f"{admitted.callback.message_id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(admit_until_killed(sys.argv[1], sys.argv[2]))
