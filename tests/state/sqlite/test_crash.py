"""A process that is killed in the middle of its work: what it had admitted is there."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.state.backends import open_state
from tests.state.messages import CHAT, admission, stored, take_over_all, window

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]


async def admitted_before_kill(path: Path, prefix: str, lines: int) -> list[str]:
    """Return the ids a process said to have admitted before it was killed, after about so many of them."""
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
        said = [await process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
    # A line that was cut off was not said.
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


async def check(path: Path, admitted: Sequence[str]) -> None:
    """Look into the file: each message has its callback and its window, and is known."""
    state = await open_state(f"sqlite:{path}", channel="wecom")
    found = {callback.message_id: callback for callback in await take_over_all(state)}
    times = {message_id: found[message_id].received_at for message_id in admitted}
    for message_id, now in times.items():
        assert found[message_id] == stored(message_id, now)
        assert await state.admit([admission(message_id, now)], now) == [False]
    windows = await asyncio.gather(*(state.claim_window([CHAT], name, now) for name, now in times.items()))
    assert windows == [window(name, now) for name, now in times.items()]
    await asyncio.gather(*(state.restore_window(window, window.opened_at) for window in windows if window))
    await state.close()


async def test_what_was_admitted_survives_a_kill(tmp_path: Path) -> None:
    """Ten times in a row on one file, at moments nobody chose."""
    path = tmp_path / "state.db"
    numbers = random.Random(7)  # noqa: S311 - nothing to be kept secret
    admitted: list[str] = []
    for attempt in range(10):
        said = await admitted_before_kill(path, f"run{attempt}", numbers.randrange(1, 400))
        assert said
        admitted += said
        await check(path, said)
    await check(path, admitted)
