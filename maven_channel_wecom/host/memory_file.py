"""The memory store in an SQLite file, which this process alone uses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import quote

import msgspec

from maven_channel_wecom.host.conversations import Conversation
from maven_channel_wecom.host.memory_store import MemoryStore, MemoryUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_T = TypeVar("_T")

_APPLICATION_ID: Final = 0x4D564E4D
"""Marks the file as one of this store: `MVNM`."""

_VERSION: Final = 1
"""The version of the table."""

_BUSY_SECONDS: Final = 0.5
"""Maximum time to wait for the lock of another process. Higher: a start takes longer to fail."""

_MODE: Final = 0o600
"""Only the owner reads what people wrote."""

_LOCKING: Final = "PRAGMA locking_mode = EXCLUSIVE"
"""The lock is held until the file is closed, so that a second process cannot use it."""

_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    # A crash of the process loses nothing, a power failure the latest turns.
    "PRAGMA synchronous = NORMAL",
    # What is forgotten is overwritten.
    "PRAGMA secure_delete = ON",
    "PRAGMA cache_size = -1024",
)
_TABLE: Final = (
    "CREATE TABLE conversations (session TEXT PRIMARY KEY, expires_at REAL NOT NULL, conversation BLOB NOT NULL)",
    "CREATE INDEX expiry ON conversations (expires_at)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_READ: Final = "SELECT conversation FROM conversations WHERE session = ? AND expires_at > ?"
_WRITE: Final = "INSERT OR REPLACE INTO conversations VALUES (?, ?, ?)"
_EXPIRE: Final = "DELETE FROM conversations WHERE expires_at <= ?"

_CAUSES: Final = {
    sqlite3.SQLITE_BUSY: "is in use by another process: stop that one, or give each a file of its own",
    sqlite3.SQLITE_FULL: "cannot grow, its disk is full: free some space",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the gateway and move the file away, which forgets all conversations",
    sqlite3.SQLITE_NOTADB: "is no SQLite database: name another file",
    sqlite3.SQLITE_READONLY: "cannot be written: give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user the right to write the file and its folder",
}


class MemoryFile(MemoryStore):
    """Holds conversations in a file. All of its work runs in one thread, in the order of the calls."""

    def __init__(self, path: Path, executor: ThreadPoolExecutor, connection: sqlite3.Connection) -> None:
        self._path = path
        self._executor = executor
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create a file. Raises MemoryUnavailable."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="maven-memory")
        try:
            connection = await _in_thread(executor, path, lambda: _open(path.absolute()))
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(path, executor, connection)

    async def read(self, session: str, now: float) -> Conversation:
        return await self._run(lambda: self._read(session, now))

    async def change(self, session: str, change: Callable[[Conversation], Conversation], now: float) -> None:
        await self._run(lambda: self._change(session, change, now))

    async def close(self) -> None:
        with contextlib.suppress(MemoryUnavailable):
            await self._run(self._connection.close)
        self._executor.shutdown(wait=False)

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await _in_thread(self._executor, self._path, work)

    def _read(self, session: str, now: float) -> Conversation:
        row = self._connection.execute(_READ, (session, now)).fetchone()
        if row is None:
            return Conversation()
        try:
            return msgspec.msgpack.decode(row[0], type=Conversation)
        except (msgspec.DecodeError, UnicodeError):
            # Not written by this version. The next turn replaces it.
            return Conversation()

    def _change(self, session: str, change: Callable[[Conversation], Conversation], now: float) -> None:
        changed = change(self._read(session, now))
        with _transaction(self._connection) as connection:
            connection.execute(_EXPIRE, (now,))
            connection.execute(_WRITE, (session, changed.expires_at, msgspec.msgpack.encode(changed)))


async def _in_thread(executor: ThreadPoolExecutor, path: Path, work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        cause = _CAUSES.get(code, "cannot be read or written: check its disk")
    except OSError as error:
        cause = f"cannot be opened: {os.strerror(error.errno or 0)}"
    message = f"the file {path} of agent.memoryState {cause}"
    raise MemoryUnavailable(message)


def _open(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):
        # SQLite would create the file with the rights of the umask.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _MODE))
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        # Opened, used and closed by the one thread of the executor.
        check_same_thread=True,
    )
    try:
        _set_up(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    # First: SQLite uses shared memory unless it is in this mode when it reads a file.
    connection.execute(_LOCKING)
    owner = _number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version")
    is_empty = not _number(connection, "SELECT count(*) FROM sqlite_master")
    if owner != (_APPLICATION_ID, _VERSION) and not (is_empty and owner == (0, 0)):
        message = (
            f"the file {path} of agent.memoryState belongs to another program or to another version of this one: "
            "name another file"
        )
        raise MemoryUnavailable(message)
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    with _transaction(connection):
        for statement in _TABLE if is_empty else ():
            connection.execute(statement)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
