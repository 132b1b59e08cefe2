"""Expiry of messages in the state file, and the size of the file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from maven_channel_wecom.state.store import CLAIM_SECONDS, Admission, StoredCallback
from tests.state.messages import (
    CHAT,
    HOUR,
    NOW,
    admission,
    admission_of_event,
    admit,
    claim,
    stored,
    take_over_all,
    window,
)

if TYPE_CHECKING:
    from pathlib import Path


def count_messages(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])


async def test_each_commit_removes_a_few_expired_messages_until_all_are_gone(
    store: SqliteStateStore, path: Path
) -> None:
    await store.admit([admission(f"m{number}") for number in range(2_000)], NOW)
    await asyncio.gather(*(store.finish(f"m{number}", NOW) for number in range(2_000)))
    after = NOW + HOUR + CLAIM_SECONDS
    await store.finish("nothing", after)
    assert 1_900 < count_messages(path) < 2_000
    assert 1_900 < store.open_windows < 2_000
    for _ in range(100):
        await store.finish("nothing", after)
    assert count_messages(path) == 0
    assert store.open_windows == 0
    assert store.expired_windows == 2_000


async def test_a_message_in_progress_outlives_its_claim_and_its_window(store: SqliteStateStore) -> None:
    """A turn may take hours: the message stays claimed until it is finished."""
    await admit(store, "m1")
    for hours in range(1, 4):
        await store.finish("nothing", NOW + hours * (HOUR + 1))
        assert not await admit(store, "m1", NOW + hours * (HOUR + 1))
    assert store.expired_windows == 1
    assert store.open_windows == 0
    await store.finish("m1", NOW + 4 * HOUR)
    assert await admit(store, "m1", NOW + 6 * HOUR)
    assert store.open_windows == 1


async def test_a_message_whose_window_is_spent_after_it_expired_counts_as_answered(store: SqliteStateStore) -> None:
    await admit(store, "m1")
    claimed = await claim(store, "m1")
    after = NOW + HOUR + 1
    await store.finish("nothing", after)
    await store.spend_window(claimed, after)
    assert await store.release("m1", after)
    assert await store.take_over(after) == []
    assert not await admit(store, "m1", after)


async def test_expiry_keeps_up_with_admissions(store: SqliteStateStore, path: Path) -> None:
    for number in range(20):
        now = NOW + number * HOUR
        await store.admit([admission(f"m{number}-{of}", now) for of in range(100)], now)
        await asyncio.gather(*(store.finish(f"m{number}-{of}", now) for of in range(100)))
    assert count_messages(path) <= 200
    assert store.open_windows <= 200


async def test_neither_the_file_nor_the_wal_grows_with_finished_messages(store: SqliteStateStore, path: Path) -> None:
    for number in range(300):
        large = StoredCallback(f"m{number}", NOW, bytes(100_000))
        await store.admit([Admission(large, window(f"m{number}"))], NOW)
        await store.finish(f"m{number}", NOW)
    assert path.stat().st_size < 2_000_000
    assert path.with_name("state.db-wal").stat().st_size < 9_000_000


async def test_the_claims_of_finished_messages_take_little_space(store: SqliteStateStore, path: Path) -> None:
    names = [f"{number:032x}" for number in range(3_000)]
    for start in range(0, len(names), 100):
        await store.admit([admission(name) for name in names[start : start + 100]], NOW)
        await asyncio.gather(*(store.finish(name, NOW) for name in names[start : start + 100]))
    claimed = await asyncio.gather(*(store.claim_window([CHAT], name, NOW) for name in names))
    await asyncio.gather(*(store.spend_window(found, NOW) for found in claimed if found))
    assert store.open_windows == 0
    await store.close()
    assert path.stat().st_size < len(names) * 300


class Machine:
    """A machine whose system clock can be adjusted while no process runs.

    Args:
        folder: the folder of the file with the id of its boot.
        wall: the system clock.
    """

    def __init__(self, folder: Path, *, wall: float) -> None:
        self.wall = wall
        self.since_boot = 1_000.0
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("first")

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def boot(self) -> None:
        self.boot_id.write_text("second")
        self.since_boot = 10.0

    def clock(self) -> SystemClock:
        """Return the clock of a new process."""
        return SystemClock(wall=lambda: self.wall, since_boot=lambda: self.since_boot, boot_id=self.boot_id)


async def leave_five_messages(path: Path, clock: SystemClock) -> None:
    """Leave five messages in progress, the second with a claimed window, and a finished one."""
    store = await SqliteStateStore.open(str(path), clock=clock)
    for number in range(5):
        await admit(store, f"m{number}", clock.now() + number)
    await admit(store, "finished", clock.now())
    await store.finish("finished", clock.now())
    await claim(store, "m1", clock.now())
    await store.close()


@pytest.mark.parametrize("wrong", [-2 * HOUR, 2 * HOUR, -30 * 24 * HOUR, 30 * 24 * HOUR])
@pytest.mark.parametrize("processes", [1, 3])
async def test_times_are_moved_by_the_adjustment_of_the_clock_between_two_processes(
    path: Path, wrong: float, processes: int
) -> None:
    """Only the first process after an adjustment moves them."""
    machine = Machine(path.parent, wall=NOW + wrong)
    await leave_five_messages(path, machine.clock())
    machine.wall -= wrong
    machine.pass_seconds(30)
    for _ in range(processes - 1):
        await (await SqliteStateStore.open(str(path), clock=machine.clock())).close()
    clock = machine.clock()
    store = await SqliteStateStore.open(str(path), clock=clock)
    assert store.open_windows == 6
    taken = await take_over_all(store, clock.now())
    assert taken == [stored(f"m{number}", NOW + number) for number in range(5)]
    for number in range(5):
        expected = window(f"m{number}", NOW + number)
        assert await claim(store, f"m{number}", clock.now()) == msgspec.structs.replace(expected, repeated=number == 1)
        await store.finish(f"m{number}", clock.now())
    assert not await admit(store, "finished", NOW + CLAIM_SECONDS - 1)
    assert await admit(store, "finished", NOW + CLAIM_SECONDS)
    for _ in range(3):
        await store.finish("nothing", NOW + 3 * HOUR)
    assert count_messages(path) == 1
    await store.close()


async def test_messages_stored_before_the_clock_went_wrong_are_recovered(path: Path) -> None:
    machine = Machine(path.parent, wall=NOW)
    await leave_five_messages(path, machine.clock())
    machine.wall += 2 * HOUR
    clock = machine.clock()
    store = await SqliteStateStore.open(str(path), clock=clock)
    taken = await take_over_all(store, clock.now())
    assert [callback.received_at - 2 * HOUR for callback in taken] == [NOW + number for number in range(5)]
    await store.close()


async def test_an_adjustment_since_another_boot_is_seen_by_times_in_the_future(path: Path) -> None:
    machine = Machine(path.parent, wall=NOW + 2 * HOUR)
    await leave_five_messages(path, machine.clock())
    machine.boot()
    machine.wall = NOW
    clock = machine.clock()
    store = await SqliteStateStore.open(str(path), clock=clock)
    taken = await take_over_all(store, clock.now())
    assert [callback.message_id for callback in taken] == [f"m{number}" for number in range(5)]
    assert all(NOW - 10 <= callback.received_at <= NOW for callback in taken)
    await store.close()


async def test_a_boot_without_an_adjustment_moves_nothing(path: Path) -> None:
    machine = Machine(path.parent, wall=NOW)
    await leave_five_messages(path, machine.clock())
    machine.boot()
    clock = machine.clock()
    store = await SqliteStateStore.open(str(path), clock=clock)
    assert await take_over_all(store, clock.now()) == [stored(f"m{number}", NOW + number) for number in range(5)]
    await store.close()


async def test_an_opening_that_fails_leaves_the_adjustment_to_the_next(path: Path) -> None:
    machine = Machine(path.parent, wall=NOW - 2 * HOUR)
    await leave_five_messages(path, machine.clock())
    machine.wall += 2 * HOUR
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateUnavailable):
            await SqliteStateStore.open(str(path), clock=machine.clock())
    store = await SqliteStateStore.open(str(path), clock=machine.clock())
    assert await take_over_all(store, NOW) == [stored(f"m{number}", NOW + number) for number in range(5)]
    await store.close()


async def test_entries_written_while_the_clock_was_ahead_are_recovered_and_expire(path: Path) -> None:
    """The first message has an open window, the second a claimed one, the third is finished, the fourth an event."""
    ahead = NOW + 30 * 24 * HOUR
    store = await SqliteStateStore.open(str(path))
    for number in range(3):
        await admit(store, f"m{number}", ahead + number)
    await store.admit([admission_of_event("e1", ahead)], ahead)
    await claim(store, "m1", ahead)
    await store.finish("m2", ahead)
    await store.close()
    store = await SqliteStateStore.open(str(path))
    taken = await take_over_all(store, NOW)
    assert [callback.message_id for callback in taken] == ["m0", "e1", "m1"]
    assert all(NOW - 10 <= callback.received_at <= NOW for callback in taken)
    assert store.open_windows == 3
    newest = await store.claim_window([CHAT], None, NOW)
    assert newest is not None
    assert newest.message_id == "m2"
    assert (await claim(store, "m1", NOW)).repeated
    await store.restore_window(newest, NOW)
    for callback in taken:
        await store.finish(callback.message_id, NOW)
    for number in range(3):
        assert not await admit(store, f"m{number}", NOW + HOUR - 20)
    later = NOW + 2 * HOUR
    for _ in range(3):
        await store.finish("nothing", later)
    assert count_messages(path) == 0
    assert store.open_windows == 0
    await store.close()
    assert await take_over_all(await SqliteStateStore.open(str(path)), later) == []
