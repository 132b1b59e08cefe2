"""A process killed in the middle of its work: what it said to have admitted is there."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.opening import open_state
from tests.state.admitted import all_unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]


async def admitted_before_kill(path: Path, prefix: str, lines: int) -> list[str]:
    """Return the ids a process said to have admitted before it was killed, after about so many of them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.state.admitting",
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
    """Look into the file: every id has its callback and its window, and is known."""
    state = await open_state(f"sqlite:{path}", channel="wecom")
    kept = {callback.message_id: callback for callback in await all_unfinished(state)}
    for message_id in admitted:
        callback = kept[message_id]
        assert callback.message == message_id.encode() * 30
        now = callback.received_at
        window = ReplyWindow(message_id, "chat", "alice", f"https://x/{message_id}", now, now + 3600)
        assert not await settled(state.admit(callback, window, now))
    answered = await asyncio.gather(*(state.claim_window("chat", name, kept[name].received_at) for name in admitted))
    assert [window and window.url for window in answered] == [f"https://x/{name}" for name in admitted]
    for found in answered:
        assert found is not None
        await state.restore_window(found, found.opened_at)
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
