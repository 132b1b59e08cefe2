"""Behavior that only the SQLite backend has: cancelled callers, health, and failures of the file in use."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys
import threading
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from maven_channel_wecom.state.store import Admission, StoredCallback
from tests.fakes.disk import largest_file
from tests.state.messages import CHAT, NOW, admission, admit, stored, window

if TYPE_CHECKING:
    from pathlib import Path

    from maven_channel_wecom.state.sqlite.writer import Writer


def large(message_id: str, size_bytes: int) -> Admission:
    return Admission(StoredCallback(message_id, NOW, bytes(size_bytes)), window(message_id))


async def execute(writer: Writer, statement: str) -> list[Any]:
    return await writer.run(lambda entries: entries.connection.execute(statement).fetchall())


async def test_messages_whose_admission_was_cancelled_during_its_commit_are_taken_over(
    store: SqliteStateStore, writer: Writer
) -> None:
    """They are not released, because a repeat may have been acknowledged as a duplicate."""
    await admit(store, "known")
    entered, opened = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        entered.set()
        opened.wait()

    batch = [admission(name) for name in ("m1", "known", "m2", "m1")]
    caller = asyncio.create_task(store.admit(batch, NOW))
    await asyncio.sleep(0)
    holding = writer.submit(hold)
    await asyncio.to_thread(entered.wait)
    caller.cancel()
    repeat = asyncio.create_task(admit(store, "m1"))
    await asyncio.sleep(0)
    opened.set()
    await holding
    assert await repeat is False
    assert await store.take_over(NOW) == [stored("m1"), stored("m2")]
    assert await store.take_over(NOW) == []


async def test_a_window_whose_claim_was_cancelled_is_open_for_the_very_next_claim(store: SqliteStateStore) -> None:
    """A host may cancel a reply and send another one immediately."""
    await admit(store, "m1")
    for _ in range(50):
        caller = asyncio.create_task(store.claim_window([CHAT], "m1", NOW))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        claimed = await store.claim_window([CHAT], "m1", NOW)
        assert claimed == window("m1")
        await store.restore_window(claimed, NOW)


async def test_a_closed_store_refuses_messages_and_is_unhealthy(path: Path) -> None:
    store = await SqliteStateStore.open(str(path))
    await admit(store, "m1")
    await store.close()
    with pytest.raises(StateUnavailable, match="the state is closed"):
        await admit(store, "m2")
    assert await store.health() == "the state is closed"


def test_a_process_can_end_without_closing_the_store_and_loses_nothing(path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from maven_channel_wecom.state.backends import open_state\n"
        "from maven_channel_wecom.state.store import Admission, StoredCallback\n"
        "async def main():\n"
        "    state = await open_state('sqlite:' + sys.argv[1], channel='wecom')\n"
        "    batch = [Admission(StoredCallback('m', 0, b'x'), None)]\n"
        "    print(await state.take_over(0), await state.admit(batch, 0))\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    for expected in ("[] [True]\n", "[<StoredCallback of 1 bytes>] [False]\n"):
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - our own program
        assert run.stdout == expected


async def test_messages_are_refused_while_the_disk_is_full_and_admitted_ones_are_kept(
    store: SqliteStateStore, writer: Writer, path: Path
) -> None:
    await execute(writer, "PRAGMA max_page_count = 120")
    results = await asyncio.gather(
        *(store.admit([large(f"m{number}", 9_000)], NOW) for number in range(300)), return_exceptions=True
    )
    failed = [result for result in results if isinstance(result, StateUnavailable)]
    assert {result.reason for result in failed} == {"state_full"}
    assert str(failed[0]) == f"the state file {path} cannot grow, its disk is full: free some space"
    admitted = {f"m{number}" for number, result in enumerate(results) if result == [True]}
    assert len(failed) + len(admitted) == 300
    with contextlib.suppress(StateUnavailable):
        for number in range(300):
            await store.admit([large(f"n{number}", 9_000)], NOW)
            admitted.add(f"n{number}")
    assert 10 < len(admitted) < 30
    assert store.open_windows == len(admitted)
    # An operation that needs no space succeeds in the same commit as one that does.
    finished = min(admitted)
    refused, done = await asyncio.gather(
        store.admit([large("large", 90_000)], NOW), store.finish(finished, NOW), return_exceptions=True
    )
    assert isinstance(refused, StateUnavailable)
    assert done is None
    admitted.remove(finished)
    await execute(writer, "PRAGMA max_page_count = 100000")
    assert await store.admit([large("late", 9_000)], NOW) == [True]
    await store.close()
    store = await SqliteStateStore.open(str(path))
    assert {callback.message_id for callback in await store.take_over(NOW)} == {*admitted, "late"}
    await store.close()


async def test_a_batch_that_does_not_fit_on_the_disk_is_refused_as_a_whole(
    store: SqliteStateStore, writer: Writer
) -> None:
    await execute(writer, "PRAGMA max_page_count = 40")
    with pytest.raises(StateUnavailable):
        await store.admit([large(f"m{number}", 3_000) for number in range(60)], NOW)
    assert store.open_windows == 0
    assert await store.admit([admission("m0")], NOW) == [True]


async def test_messages_are_refused_and_health_reports_why_while_the_disk_reports_errors(
    store: SqliteStateStore, path: Path
) -> None:
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


async def test_health_checks_share_one_write_while_the_disk_hangs(store: SqliteStateStore, writer: Writer) -> None:
    hangs, works = threading.Event(), threading.Event()
    probes = 0

    def hang(_: object) -> None:
        hangs.set()
        works.wait()

    def count(statement: str) -> None:
        nonlocal probes
        probes += "user_version" in statement

    hanging = writer.submit(hang)
    await asyncio.to_thread(hangs.wait)
    for _ in range(3):
        results = await asyncio.gather(*(store.health() for _ in range(20)))
        assert set(results) == {"the state file cannot be written in time: check its disk"}
    # Statements are traced from the first operation after the disk works again.
    writer.submit_next(lambda entries: entries.connection.set_trace_callback(count))
    works.set()
    await hanging
    async with asyncio.timeout(10):
        while await store.health():
            pass
    await writer.run(lambda entries: entries.connection.set_trace_callback(None))
    assert probes <= 2


async def test_messages_are_refused_while_the_file_is_moved_away(store: SqliteStateStore, path: Path) -> None:
    """A restart would not find them. Once the file is back in its place, they are admitted again."""
    await admit(store, "m1")
    path.rename(path.with_name("moved"))
    with pytest.raises(StateUnavailable, match="was removed or replaced while in use"):
        await admit(store, "m2")
    path.touch()
    assert "was removed or replaced" in str(await store.health())
    path.with_name("moved").replace(path)
    assert await admit(store, "m2")


async def test_all_operations_are_refused_once_damage_is_found_in_use(store: SqliteStateStore, path: Path) -> None:
    await admit(store, "m1")
    await admit(store, "m2")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET url = 'https://y/canary' WHERE message_id = 'm1'")
    with pytest.raises(StateUnavailable) as raised:
        await store.claim_window([CHAT], "m1", NOW)
    assert "is damaged" in str(raised.value)
    assert "canary" not in str(raised.value)
    with pytest.raises(StateUnavailable):
        await admit(store, "m3")
    assert await store.health() == str(raised.value)


async def test_pages_overwritten_in_use_are_detected_when_they_are_read(path: Path, writer: Writer) -> None:
    store = await SqliteStateStore.open(str(path))
    await store.admit([large(f"m{number}", 3_000) for number in range(1_000)], NOW)
    await store.close()
    store = SqliteStateStore(writer, await writer.open())
    content = path.read_bytes()
    path.write_bytes(content[:2048] + b"\xa5" * (len(content) - 2048))
    # Pages in the cache are not read again.
    with contextlib.suppress(StateUnavailable):
        await execute(writer, "PRAGMA shrink_memory")
    with pytest.raises(StateUnavailable, match="is damaged"):
        await asyncio.gather(*(store.finish(f"m{number}", NOW) for number in range(1_000)))
    assert "is damaged" in str(await store.health())


def test_no_statement_numbers_its_parameters() -> None:
    """Python 3.12 before 3.12.4 takes `?1` for a named parameter, and warns about each such statement."""
    for module in resources.files("maven_channel_wecom.state.sqlite").iterdir():
        if module.name.endswith(".py"):
            assert re.findall(r"\?[0-9]", module.read_text(encoding="utf-8")) == []
