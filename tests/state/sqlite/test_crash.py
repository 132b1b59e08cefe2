"""Messages that were admitted survive the kill of their process."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.state.backends import open_state
from tests.state.messages import CHAT, admission, stored, take_over_all, window

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]


async def admitted_before_kill(path: Path, prefix: str, lines: int) -> list[str]:
    """Run a process that admits messages, kill it after some lines of output, and return the ids it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.state.admit_until_killed",
        str(path),
        prefix,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(60):
        printed = [await process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
    # An incomplete last line does not count.
    return [line.decode().strip() for line in printed if line.endswith(b"\n")]


async def check_admitted(path: Path, admitted: Sequence[str]) -> None:
    """Check that each message in the file has its callback, its window and its claim."""
    state = await open_state(f"sqlite:{path}", channel="wecom")
    found = {callback.message_id: callback for callback in await take_over_all(state, time.time())}
    times = {message_id: found[message_id].received_at for message_id in admitted}
    for message_id, now in times.items():
        assert found[message_id] == stored(message_id, now)
        assert await state.admit([admission(message_id, now)], now) == [False]
    windows = await asyncio.gather(*(state.claim_window([CHAT], name, now) for name, now in times.items()))
    assert windows == [window(name, now) for name, now in times.items()]
    await asyncio.gather(*(state.restore_window(window, window.opened_at) for window in windows if window))
    await state.close()


async def test_admitted_messages_survive_ten_kills_at_random_times(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    numbers = random.Random(7)  # noqa: S311 - not used for security
    admitted: list[str] = []
    for attempt in range(10):
        new = await admitted_before_kill(path, f"run{attempt}", numbers.randrange(1, 400))
        assert new
        admitted += new
        await check_admitted(path, new)
    await check_admitted(path, admitted)
