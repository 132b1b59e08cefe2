"""A process that admits messages to a state file, eight at a time, and says of each that it was admitted.

`python -m tests.state.admitting PATH PREFIX`; it goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.opening import open_state
from maven_channel_wecom.state.port import KeptCallback


async def admit_until_killed(path: str, prefix: str) -> None:
    """Print each id in a line of its own, after it was admitted."""
    state = await open_state(f"sqlite:{path}", channel="wecom")
    numbers = itertools.count()

    async def admit() -> None:
        for number in numbers:
            message_id = f"{prefix}-{number}"
            now = time.time()
            window = ReplyWindow(message_id, "chat", "alice", f"https://x/{message_id}", now, now + 3600)
            if await settled(state.admit(KeptCallback(message_id, "chat", now, message_id.encode() * 30), window, now)):
                sys.stdout.write(f"{message_id}\n")
                sys.stdout.flush()

    await asyncio.gather(*(admit() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(admit_until_killed(sys.argv[1], sys.argv[2]))
