"""What only the backend in a file does: its file, its commits, its limits, its failures while in use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import sqlite3
import subprocess
import sys
import threading
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from maven_channel_wecom.later import settled
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.sqlite.store import SqliteStateStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOW = 1_700_000_000.0
HOUR = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStateStore]:
    store = await SqliteStateStore.open(str(path))
    yield store
    await store.close()


def kept(message_id: str, message: bytes = b"x") -> KeptCallback:
    return KeptCallback(message_id, "chat", NOW, message)


async def admit(store: SqliteStateStore, message_id: str, *, message: bytes = b"x", now: float = NOW) -> bool:
    window = ReplyWindow(message_id, "chat", "alice", "https://x/canary", now, now + HOUR)
    return await settled(store.admit(kept(message_id, message), window, now))


async def execute(store: SqliteStateStore, statement: str) -> list[tuple[int, ...]]:
    return await store._writer.run(lambda: store._entries._execute(statement).fetchall())


async def test_nobody_else_may_read_the_file(path: Path) -> None:
    """It holds URLs and what users wrote, whatever the umask allows."""
    umask = os.umask(0)
    try:
        store = await SqliteStateStore.open(str(path))
        await admit(store, "m1")
    finally:
        os.umask(umask)
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        "state.db": 0o600,
        "state.db-wal": 0o600,
    }
    await store.close()


async def test_an_empty_file_becomes_a_state(path: Path) -> None:
    """Somebody may have made it to give it an owner."""
    path.touch()
    store = await SqliteStateStore.open(str(path))
    assert await admit(store, "m1")
    await store.close()


async def test_many_at_once_share_a_commit(path: Path, tmp_path: Path) -> None:
    """A commit is what costs; its size shows in the WAL, which repeats a page for each commit that changes it."""
    sizes = []
    for together in (True, False):
        store = await SqliteStateStore.open(str(tmp_path / f"{together}.db"))
        if together:
            await asyncio.gather(*(admit(store, f"m{number}") for number in range(64)))
        else:
            for number in range(64):
                await admit(store, f"m{number}")
        sizes.append((tmp_path / f"{together}.db-wal").stat().st_size)
        await store.close()
    assert sizes[0] < sizes[1] / 4


async def test_one_that_fails_does_not_fail_the_others(store: SqliteStateStore) -> None:
    """Half a surrogate pair is no text that can be kept; its neighbors in the same commit can."""
    results = await asyncio.gather(*(admit(store, name) for name in ("m1", "m\ud800", "m2")), return_exceptions=True)
    assert results[0] is True
    assert isinstance(results[1], StateUnavailable)
    assert str(results[1]) == "the state cannot keep an entry with such content"
    assert results[2] is True
    assert store.open_windows == 2
    assert not await admit(store, "m1")
    assert await store.health() is None


async def test_a_message_whose_caller_went_away_is_unfinished(store: SqliteStateStore) -> None:
    """Nobody has it in hand, and a repeat of it may have been told otherwise."""
    callers = [asyncio.create_task(admit(store, f"m{number}")) for number in range(20)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [result is True for result in results] == [number % 2 == 1 for number in range(20)]
    assert not await admit(store, "m0")
    assert await store.unfinished(NOW) == [kept(f"m{number}") for number in range(0, 20, 2)]
    assert await store.unfinished(NOW) == []


async def test_a_window_whose_caller_went_away_is_open_again(store: SqliteStateStore) -> None:
    """Nobody is going to answer through it."""
    await admit(store, "m1")
    caller = asyncio.create_task(store.claim_window("chat", "m1", NOW))
    await asyncio.sleep(0)
    caller.cancel()
    # Orders are carried out in their order: the claim before the first of these, its undoing before the second.
    await store.finish("nothing", NOW)
    await store.finish("nothing", NOW)
    assert await store.claim_window("chat", "m1", NOW) is not None


async def test_closing_carries_out_what_is_queued(path: Path) -> None:
    """And can be done twice; afterwards nothing is promised."""
    store = await SqliteStateStore.open(str(path))
    callers = [asyncio.create_task(admit(store, f"m{number}")) for number in range(10)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert await asyncio.gather(*callers) == [True] * 10
    with pytest.raises(StateUnavailable, match="the state is closed"):
        await admit(store, "m10")
    assert await store.health() == "the state is closed"
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


async def test_opening_can_be_canceled(path: Path) -> None:
    """What was opened for nobody is closed."""
    opening = asyncio.create_task(SqliteStateStore.open(str(path)))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(StateUnavailable):
                store = await SqliteStateStore.open(str(path))
                break
    await store.close()


def test_a_process_that_does_not_close_ends_all_the_same(path: Path) -> None:
    """With all it promised in the file."""
    program = (
        "import asyncio, sys\n"
        "from maven_channel_wecom.state.opening import open_state\n"
        "from maven_channel_wecom.state.port import KeptCallback\n"
        "async def main():\n"
        "    state = await open_state('sqlite:' + sys.argv[1], channel='wecom')\n"
        "    print(await state.unfinished(0), await state.admit(KeptCallback('m', 'c', 0, b'x'), None, 0).wait())\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    for said in ("[] True\n", "[<KeptCallback of 1 bytes>] False\n"):
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - our own program
        assert run.stdout == said


async def test_a_full_file_refuses_and_goes_on_when_there_is_room(path: Path) -> None:
    """Refused messages leave nothing behind, admitted ones stay."""
    store = await SqliteStateStore.open(str(path))
    await execute(store, "PRAGMA max_page_count = 120")
    results = await asyncio.gather(
        *(admit(store, f"m{number}", message=bytes(9_000)) for number in range(300)), return_exceptions=True
    )
    failed = [result for result in results if isinstance(result, StateUnavailable)]
    assert {result.reason for result in failed} == {"state_full"}
    assert str(failed[0]) == f"the state file {path} cannot grow, its disk is full: make room"
    admitted = {f"m{number}" for number, result in enumerate(results) if result is True}
    assert len(failed) + len(admitted) == 300
    with contextlib.suppress(StateUnavailable):
        for number in range(300):
            await admit(store, f"n{number}", message=bytes(9_000))
            admitted.add(f"n{number}")
    assert 10 < len(admitted) < 30
    assert store.open_windows == len(admitted)
    # What needs no room goes on, in the same commit as what does.
    finished = min(admitted)
    refused, done = await asyncio.gather(
        admit(store, "large", message=bytes(90_000)), store.finish(finished, NOW), return_exceptions=True
    )
    assert isinstance(refused, StateUnavailable)
    assert done is None
    admitted.remove(finished)
    await execute(store, "PRAGMA max_page_count = 100000")
    assert await admit(store, "late", message=bytes(9_000))
    await store.close()
    store = await SqliteStateStore.open(str(path))
    assert {callback.message_id for callback in await store.unfinished(NOW)} == {*admitted, "late"}
    await store.close()


@contextlib.contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_takes_no_more_refuses_and_heals(store: SqliteStateStore, path: Path) -> None:
    """Its health says so meanwhile."""
    await admit(store, "m1")
    with largest_file(path.with_name("state.db-wal").stat().st_size):
        with pytest.raises(StateUnavailable) as raised:
            await admit(store, "m2")
        assert await store.health() == str(raised.value)
    assert raised.value.reason == "state"
    assert "check the disk, its quota and limits" in str(raised.value)
    assert await store.health() is None
    assert await admit(store, "m2")
    assert not await admit(store, "m1")


async def test_a_disk_that_hangs_is_unhealthy_and_is_asked_once(path: Path) -> None:
    """However many ask meanwhile, one write waits; when the disk moves again, all is well."""
    store = await SqliteStateStore.open(str(path), patience_seconds=0.05)
    hangs, moves = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        moves.wait()

    hanging = store._writer.submit(hang)
    await asyncio.to_thread(hangs.wait)
    for _ in range(3):
        told = await asyncio.gather(*(store.health() for _ in range(20)))
        assert set(told) == {"the state file is not written in time: check its disk"}
    assert len(store._writer._gathered) == 1
    moves.set()
    await hanging
    async with asyncio.timeout(10):
        while await store.health():
            pass
    await store.close()


async def test_a_file_taken_away_promises_nothing_more(store: SqliteStateStore, path: Path) -> None:
    """What goes into a file without a name is lost; put back, it is as good as before."""
    await admit(store, "m1")
    path.rename(path.with_name("moved"))
    with pytest.raises(StateUnavailable, match="was removed or replaced while in use"):
        await admit(store, "m2")
    path.touch()
    assert "was removed or replaced" in str(await store.health())
    path.with_name("moved").replace(path)
    assert await admit(store, "m2")


async def test_damage_found_in_use_stops_all_promises(store: SqliteStateStore) -> None:
    """A URL that is not the one that was kept is never used, and the file not believed any more."""
    await admit(store, "m1")
    await admit(store, "m2")
    await execute(store, "UPDATE messages SET url = 'https://y/canary' WHERE message_id = 'm1'")
    with pytest.raises(StateUnavailable) as raised:
        await store.claim_window("chat", "m1", NOW)
    assert "is damaged" in str(raised.value)
    assert "canary" not in str(raised.value)
    with pytest.raises(StateUnavailable):
        await admit(store, "m3")
    assert await store.health() == str(raised.value)


async def test_pages_overwritten_in_use_are_found(path: Path) -> None:
    """By SQLite, at the latest when it reads them."""
    store = await SqliteStateStore.open(str(path))
    await asyncio.gather(*(admit(store, f"m{number}", message=bytes(3_000)) for number in range(1_000)))
    await store.close()
    store = await SqliteStateStore.open(str(path))
    content = path.read_bytes()
    path.write_bytes(content[:2048] + b"\xa5" * (len(content) - 2048))
    # The pages it has read are not read again while they are in its memory.
    with contextlib.suppress(StateUnavailable):
        await execute(store, "PRAGMA shrink_memory")
    with pytest.raises(StateUnavailable, match="is damaged"):
        await asyncio.gather(*(store.finish(f"m{number}", NOW) for number in range(1_000)))
    assert "is damaged" in str(await store.health())
    await store.close()


async def test_expired_entries_go_in_small_bites(store: SqliteStateStore) -> None:
    """No commit carries more than a few of them; all are gone in the end."""
    await asyncio.gather(*(admit(store, f"m{number}") for number in range(2_000)))
    await asyncio.gather(*(store.finish(f"m{number}", NOW) for number in range(2_000)))
    count = "SELECT (SELECT count(*) FROM claims), (SELECT count(*) FROM messages)"
    assert await execute(store, count) == [(2_000, 2_000)]
    assert store.open_windows == 2_000
    after = NOW + HOUR + CLAIM_SECONDS
    await store.finish("nothing", after)
    ((claims, windows),) = await execute(store, count)
    assert 1_900 < claims < 2_000
    assert 1_900 < windows < 2_000
    for _ in range(100):
        await store.finish("nothing", after)
    assert await execute(store, count) == [(0, 0)]
    assert store.open_windows == 0


async def test_a_message_in_hand_outlives_its_claim_and_its_window(store: SqliteStateStore) -> None:
    """An agent may think for hours: nobody else gets the message, and it ends like any other."""
    await admit(store, "m1")
    for hours in range(1, 4):
        await store.finish("nothing", NOW + hours * (HOUR + 1))
        assert not await admit(store, "m1", now=NOW + hours * (HOUR + 1))
    assert store.expired_windows == 1
    assert store.open_windows == 0
    await store.finish("m1", NOW + 4 * HOUR)
    assert await admit(store, "m1", now=NOW + 6 * HOUR)
    assert store.open_windows == 1


async def test_expiring_keeps_up_with_admitting(store: SqliteStateStore) -> None:
    """Under a steady load the file holds what is alive, and not what ever was."""
    for number in range(20):
        now = NOW + number * HOUR
        await asyncio.gather(*(admit(store, f"m{number}-{of}", now=now) for of in range(100)))
        await asyncio.gather(*(store.finish(f"m{number}-{of}", now) for of in range(100)))
    ((claims,),) = await execute(store, "SELECT count(*) FROM claims")
    assert claims <= 200
    assert store.open_windows <= 200


async def test_a_message_known_again_has_one_window(store: SqliteStateStore) -> None:
    """Its claim expires before its first window does; the new one takes its place."""
    await admit(store, "m1")
    await store.finish("m1", NOW)
    assert await admit(store, "m1", now=NOW + CLAIM_SECONDS)
    assert store.open_windows == 1
    found = await store.claim_window("chat", "m1", NOW + CLAIM_SECONDS)
    assert found is not None
    assert found.opened_at == NOW + CLAIM_SECONDS


async def test_neither_file_nor_wal_grows_with_what_is_over(store: SqliteStateStore, path: Path) -> None:
    """Their size follows what is in hand at a time."""
    for number in range(300):
        await admit(store, f"m{number}", message=bytes(100_000))
        await store.finish(f"m{number}", NOW)
    assert path.stat().st_size < 2_000_000
    assert path.with_name("state.db-wal").stat().st_size < 9_000_000


async def test_the_file_is_a_database_of_its_own_kind(path: Path) -> None:
    """What `file` and other programs can tell by its header."""
    store = await SqliteStateStore.open(str(path))
    await admit(store, "m1")
    await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (0x4D765763,)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_no_statement_numbers_its_parameters() -> None:
    """Python 3.12 takes `?1` for a name until 3.12.4, and warns of each such statement."""
    for module in resources.files("maven_channel_wecom.state.sqlite").iterdir():
        if module.name.endswith(".py"):
            assert re.findall(r"\?[0-9]", module.read_text(encoding="utf-8")) == []
