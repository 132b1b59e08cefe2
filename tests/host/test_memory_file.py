"""The file that holds conversations: who can use it, what survives, and what its errors say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from maven_channel_wecom.host.conversations import Conversation
from maven_channel_wecom.host.memory_file import MemoryFile, _unavailable, copy_memory
from maven_channel_wecom.host.memory_store import MemoryUnavailable
from maven_channel_wecom.state.backends import open_state
from tests.host.test_memory_store import NOW, conversation, put


async def opened(path: Path, now: float = NOW) -> MemoryFile:
    return await MemoryFile(path, lambda: now).open()


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_stop_and_a_start_keep_conversations(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    first = await opened(path)
    await put(first, "a", conversation())
    await first.close()
    second = await opened(path)
    assert await second.read("a", NOW) == conversation()
    await second.close()


def test_a_process_that_dies_loses_no_conversation(tmp_path: Path) -> None:
    program = """
import asyncio, os, pathlib, sys
from maven_channel_wecom.host.memory_file import MemoryFile
from tests.host.test_memory_store import conversation, put

async def main():
    store = await MemoryFile(pathlib.Path(sys.argv[1]), lambda: 0.0).open()
    await put(store, "a", conversation())
    os._exit(9)

asyncio.run(main())
"""
    path = tmp_path / "memory.db"
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)  # noqa: S603 - our own program
    assert done.returncode == 9

    async def read() -> Conversation:
        store = await opened(path)
        found = await store.read("a", NOW)
        await store.close()
        return found

    assert asyncio.run(read()) == conversation()


async def test_only_the_owner_can_read_the_file_and_what_belongs_to_it(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        store = await opened(tmp_path / "memory.db")
        await put(store, "a", conversation())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await store.close()
    finally:
        os.umask(old_mask)
    assert modes == dict.fromkeys(("memory.db", "memory.db-journal", "memory.db.lock"), 0o600)


async def test_a_close_that_is_cancelled_still_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = await opened(path)
    goes_on = threading.Event()

    def wait(conversation: Conversation) -> Conversation:
        goes_on.wait()
        return conversation

    changing = asyncio.create_task(store.change("a", wait, NOW))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    (thread,) = (each for each in threading.enumerate() if each.name == "maven-memory")
    goes_on.set()
    await changing
    await asyncio.to_thread(thread.join, 10)
    await (await opened(path)).close()


async def test_a_file_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = await opened(path)
    with pytest.raises(MemoryUnavailable, match="is in use by another process"):
        await opened(path)
    await put(store, "a", conversation())
    await store.close()
    await (await opened(path)).close()


async def test_a_file_with_two_names_is_refused(tmp_path: Path) -> None:
    """Each name has a journal and a lock file of its own, so two gateways could use the file at once."""
    path, other = tmp_path / "memory.db", tmp_path / "other.db"
    await (await opened(path)).close()
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(MemoryUnavailable, match="has several names"):
            await opened(name)


def test_a_copy_has_all_that_was_remembered_before_while_turns_go_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "memory.db", tmp_path / "copy.db"
    command = [sys.executable, "-m", "tests.host.remember_until_killed", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        assert process.stdout
        remembered: set[str] = set()
        for _ in range(5):
            remembered |= {process.stdout.readline().strip() for _ in range(30)}
            copy_memory(path, copy)
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                assert remembered <= {row[0] for row in connection.execute("SELECT session FROM conversations")}
        # No turn was forgotten meanwhile, which would have ended the process.
        assert process.stdout.readline()
        process.kill()


def test_a_copy_of_what_a_killed_process_left_is_that_of_its_last_complete_turn(tmp_path: Path) -> None:
    """A journal that is left belongs to a turn that was not complete."""
    path, copy = tmp_path / "memory.db", tmp_path / "copy.db"
    program = """
import pathlib, os, sqlite3, sys
from contextlib import ExitStack
from maven_channel_wecom.host.memory_file import _open

connection = _open(pathlib.Path(sys.argv[1]), ExitStack())
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
for number in range(100):
    connection.execute("INSERT INTO conversations VALUES (?, 9e9, zeroblob(9000))", (str(number),))
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)  # noqa: S603 - our own program
    assert (tmp_path / "memory.db-journal").stat().st_size > 0
    copy_memory(path, copy)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM conversations").fetchone() == (0,)


async def test_what_cannot_be_copied_is_one_sentence(tmp_path: Path) -> None:
    path, copy = tmp_path / "memory.db", tmp_path / "copy.db"
    with pytest.raises(MemoryUnavailable, match="does not exist: name the file that the gateway uses"):
        await asyncio.to_thread(copy_memory, path, copy)
    state = await open_state(f"sqlite:{tmp_path / 'wecom.db'}", channel="wecom")
    await state.close()
    with pytest.raises(MemoryUnavailable, match="belongs to another program"):
        await asyncio.to_thread(copy_memory, tmp_path / "wecom.db", copy)
    store = await opened(path)
    await put(store, "a", conversation("x" * 100_000))
    await store.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(len(content) - 8192))
    with pytest.raises(MemoryUnavailable, match="is damaged"):
        await asyncio.to_thread(copy_memory, path, copy)


async def test_a_turn_waits_for_a_program_that_copies_the_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = await opened(path)
    program = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM conversations").fetchall()
print("reads", flush=True)
sys.stdin.readline()
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(path)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    assert await process.stdout.readline() == b"reads\n"
    storing = asyncio.create_task(put(store, "a", conversation()))
    # It waits for the lock, as no other call is answered meanwhile.
    done, _ = await asyncio.wait({storing}, timeout=0.2)
    assert not done
    process.stdin.close()
    await process.wait()
    await storing
    assert await store.read("a", NOW) == conversation()
    await store.close()


async def test_nothing_forgotten_stays_on_the_disk_while_the_file_is_open(tmp_path: Path) -> None:
    store = await opened(tmp_path / "memory.db")
    await put(store, "over", conversation("canary-4711 " * 2_000))
    assert b"canary" in contents(tmp_path)
    await put(store, "over", Conversation(expires_at=NOW + 60))
    assert b"canary" not in contents(tmp_path)
    await put(store, "expired", conversation("canary-4712", expires_at=NOW + 1))
    await put(store, "other", Conversation(expires_at=NOW + 60), NOW + 1)
    assert b"canary" not in contents(tmp_path)
    await store.close()


async def test_what_expired_while_the_file_was_closed_is_deleted_at_the_start(tmp_path: Path) -> None:
    store = await opened(tmp_path / "memory.db")
    await put(store, "a", conversation("canary-4711", expires_at=NOW + 60))
    await store.close()
    assert b"canary" in contents(tmp_path)
    store = await opened(tmp_path / "memory.db", NOW + 60)
    assert b"canary" not in contents(tmp_path)
    await store.close()


async def test_what_expires_while_nobody_writes_is_deleted(tmp_path: Path) -> None:
    now = [NOW]
    store = await MemoryFile(tmp_path / "memory.db", lambda: now[0], expiry_seconds=0.001).open()
    await put(store, "a", conversation("canary-4711", expires_at=NOW + 60))
    now[0] += 60
    async with asyncio.timeout(10):
        while b"canary" in contents(tmp_path):  # noqa: ASYNC110 - the file reports no event
            await asyncio.sleep(0)
    await store.close()


async def test_the_conversations_that_expire_first_are_forgotten_if_space_ends(tmp_path: Path) -> None:
    store = await MemoryFile(tmp_path / "memory.db", lambda: NOW, limit_bytes=300_000).open()
    for number in range(8):
        await put(store, str(number), conversation("x" * 50_000, expires_at=NOW + 60 + number))
    found = [await store.read(str(number), NOW) != Conversation() for number in range(8)]
    assert found == [False] * 3 + [True] * 5
    await store.close()


class HangingDisk:
    """Makes calls of a store wait, as a disk does that does not answer."""

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.answers = threading.Event()

    def change(self, stored: Conversation) -> Conversation:
        self.hangs.set()
        self.answers.wait()
        return stored


async def test_a_disk_that_hangs_delays_one_call_and_gets_no_other_until_it_answers(tmp_path: Path) -> None:
    disk = HangingDisk()
    store = await MemoryFile(tmp_path / "memory.db", lambda: NOW, call_seconds=0.5).open()
    with pytest.raises(MemoryUnavailable, match="does not answer in time: check its disk"):
        await store.change("a", disk.change, NOW)
    late = HangingDisk()
    async with asyncio.timeout(0.5):
        with pytest.raises(MemoryUnavailable, match="does not answer in time"):
            await store.read("a", NOW)
        with pytest.raises(MemoryUnavailable, match="does not answer in time"):
            await store.change("a", late.change, NOW)
        await store.close()
    assert disk.hangs.is_set()
    disk.answers.set()
    async with asyncio.timeout(10):
        # The lock ends with the thread.
        while not await can_be_opened(tmp_path / "memory.db"):  # noqa: ASYNC110 - SQLite reports no event
            await asyncio.sleep(0)
    assert not late.hangs.is_set()


async def can_be_opened(path: Path) -> bool:
    with contextlib.suppress(MemoryUnavailable):
        await (await opened(path)).close()
        return True
    return False


async def test_a_disk_that_answers_again_is_used_again(tmp_path: Path) -> None:
    disk = HangingDisk()
    store = await MemoryFile(tmp_path / "memory.db", lambda: NOW, call_seconds=0.2).open()
    with pytest.raises(MemoryUnavailable):
        await store.change("a", disk.change, NOW)
    disk.answers.set()
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(MemoryUnavailable):
                await put(store, "a", conversation())
                break
            await asyncio.sleep(0)
        assert await store.read("a", NOW) == conversation()
        await store.close()


def test_a_process_ends_while_the_disk_hangs(tmp_path: Path) -> None:
    program = """
import asyncio, contextlib, pathlib, sys, threading
from maven_channel_wecom.host.memory_file import MemoryFile
from maven_channel_wecom.host.memory_store import MemoryUnavailable

async def main():
    store = await MemoryFile(pathlib.Path(sys.argv[1]), lambda: 0.0, call_seconds=0.2).open()
    with contextlib.suppress(MemoryUnavailable):
        await store.change("a", lambda stored: threading.Event().wait(), 0.0)
    await store.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "memory.db")], check=False, timeout=20)  # noqa: S603 - our own program
    assert done.returncode == 0


async def test_a_file_of_a_channel_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "wecom.db"
    state = await open_state(f"sqlite:{path}", channel="wecom")
    await state.close()
    content = path.read_bytes()
    with pytest.raises(MemoryUnavailable, match="belongs to another program"):
        await opened(path)
    assert path.read_bytes() == content


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    await (await opened(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(MemoryUnavailable, match="another version"):
        await opened(path)


async def test_an_entry_that_cannot_be_read_is_empty_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    await (await opened(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO conversations VALUES ('a', 9e9, x'c1')")
    connection.commit()
    connection.close()
    store = await opened(path)
    assert await store.read("a", NOW) == Conversation()
    await put(store, "a", conversation())
    assert await store.read("a", NOW) == conversation()
    await store.close()


async def test_an_error_names_the_key_the_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be read as one " * 40)
    for path, cause in (
        (tmp_path / "text.db", "is no SQLite database: name another file"),
        (tmp_path / "nowhere" / "memory.db", "cannot be opened: No such file or directory"),
        (tmp_path, "is a folder: name a file in it"),
        (Path("/dev/null"), "is a pipe or a device: name a file"),
    ):
        with pytest.raises(MemoryUnavailable) as caught:
            await opened(path)
        assert str(caught.value).startswith(f"the file {path} of agent.memoryState {cause}")


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (sqlite3.SQLITE_IOERR_RDLOCK, "no working locks"),
        (sqlite3.SQLITE_PROTOCOL, "no working locks"),
        (sqlite3.SQLITE_READONLY_ROLLBACK, "an unfinished change of a process that was killed: start the gateway"),
        (sqlite3.SQLITE_READONLY, "the right to write the file"),
        (sqlite3.SQLITE_IOERR_READ, "check its disk"),
    ],
)
def test_errors_of_the_file_system_have_sentences(code: int, part: str) -> None:
    """A share without locks reports them by SQLite before the lock file is locked."""
    error = sqlite3.OperationalError("error")
    error.sqlite_errorcode = code
    assert part in str(_unavailable(Path("memory.db"), error))


async def test_a_file_that_is_removed_while_in_use_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = await opened(path)
    await put(store, "a", conversation())
    path.unlink()
    with pytest.raises(MemoryUnavailable, match="was removed or replaced while in use: start the gateway again"):
        await put(store, "b", conversation())
    await store.close()


async def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = await opened(tmp_path / "memory.db")
    await put(store, "a", conversation())
    with pytest.raises(ZeroDivisionError):
        await store.change("a", lambda _: 1 // 0, NOW)  # type: ignore[arg-type, return-value]
    await put(store, "b", conversation("other"))
    assert await store.read("a", NOW) == conversation()
    await store.close()
