"""The file that holds conversations: who can use it, what survives, and what its errors say."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.host.conversations import Conversation
from maven_channel_wecom.host.memory_file import MemoryFile
from maven_channel_wecom.host.memory_store import MemoryUnavailable
from maven_channel_wecom.state.backends import open_state
from tests.host.test_memory_store import NOW, conversation, put

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_stop_and_a_start_keep_conversations(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    first = await MemoryFile.open(path)
    await put(first, "a", conversation())
    await first.close()
    second = await MemoryFile.open(path)
    assert await second.read("a", NOW) == conversation()
    await second.close()


def test_a_process_that_dies_loses_no_conversation(tmp_path: Path) -> None:
    program = """
import asyncio, os, pathlib, sys
from maven_channel_wecom.host.memory_file import MemoryFile
from tests.host.test_memory_store import conversation, put

async def main():
    await put(await MemoryFile.open(pathlib.Path(sys.argv[1])), "a", conversation())
    os._exit(9)

asyncio.run(main())
"""
    path = tmp_path / "memory.db"
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)  # noqa: S603 - our own program
    assert done.returncode == 9

    async def read() -> Conversation:
        store = await MemoryFile.open(path)
        found = await store.read("a", NOW)
        await store.close()
        return found

    assert asyncio.run(read()) == conversation()


async def test_only_the_owner_can_read_the_file_and_what_belongs_to_it(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        store = await MemoryFile.open(tmp_path / "memory.db")
        await put(store, "a", conversation())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await store.close()
    finally:
        os.umask(old_mask)
    assert modes == {"memory.db": 0o600, "memory.db-wal": 0o600}


async def test_a_file_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = await MemoryFile.open(path)
    with pytest.raises(MemoryUnavailable, match="is in use by another process"):
        await MemoryFile.open(path)
    await put(store, "a", conversation())
    await store.close()
    await (await MemoryFile.open(path)).close()


async def test_nothing_forgotten_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = await MemoryFile.open(path)
    await put(store, "expired", conversation("canary-4711", expires_at=NOW + 1))
    await put(store, "over", conversation("canary-4712"))
    await put(store, "over", Conversation(expires_at=NOW + 60), NOW + 1)
    await store.close()
    assert b"canary" not in path.read_bytes()
    assert not (tmp_path / "memory.db-wal").exists()


async def test_a_file_of_a_channel_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "wecom.db"
    state = await open_state(f"sqlite:{path}", channel="wecom")
    await state.close()
    content = path.read_bytes()
    with pytest.raises(MemoryUnavailable, match="belongs to another program"):
        await MemoryFile.open(path)
    assert path.read_bytes() == content


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    await (await MemoryFile.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(MemoryUnavailable, match="another version"):
        await MemoryFile.open(path)


async def test_an_entry_that_cannot_be_read_is_empty_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    await (await MemoryFile.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO conversations VALUES ('a', 9e9, x'c1')")
    connection.commit()
    connection.close()
    store = await MemoryFile.open(path)
    assert await store.read("a", NOW) == Conversation()
    await put(store, "a", conversation())
    assert await store.read("a", NOW) == conversation()
    await store.close()


async def test_an_error_names_the_key_the_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be read as one " * 40)
    for path, cause in (
        (tmp_path / "text.db", "is no SQLite database: name another file"),
        (tmp_path / "nowhere" / "memory.db", "cannot be opened: No such file or directory"),
        (tmp_path, "cannot be opened: give this user the right to write"),
    ):
        with pytest.raises(MemoryUnavailable) as caught:
            await MemoryFile.open(path)
        assert str(caught.value).startswith(f"the file {path} of agent.memoryState {cause}")


async def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = await MemoryFile.open(tmp_path / "memory.db")
    await put(store, "a", conversation())
    with pytest.raises(ZeroDivisionError):
        await store.change("a", lambda _: 1 // 0, NOW)  # type: ignore[arg-type, return-value]
    await put(store, "b", conversation("other"))
    assert await store.read("a", NOW) == conversation()
    await store.close()
