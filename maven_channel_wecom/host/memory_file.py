"""The memory store in an SQLite file, which one process uses; others can copy it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import shutil
import sqlite3
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import msgspec

from maven_channel_wecom.file_lock import NO_LOCKS, UnusableFile, check_file, lock_file, lock_path, others_can_change
from maven_channel_wecom.host.conversations import Conversation
from maven_channel_wecom.host.memory_store import MEMORY_STORE_BYTES, MemoryStore, MemoryUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_T = TypeVar("_T")

MEMORY_FILE_ID: Final = 0x4D564E4D
"""The application id that marks the file as one of this store: `MVNM`."""

_VERSION: Final = 1
"""The version of the table."""

_BUSY_SECONDS: Final = 2.0
"""Maximum time to wait for another process that copies the file: up to 1 s for 256 MiB on a busy machine. Lower: a turn
that ends meanwhile is not remembered. Higher: with the wait, a call takes longer than `_CALL_SECONDS`."""

_OPEN_SECONDS: Final = 10.0
"""Maximum time to open the file. Lower: a start fails on a slow disk. Higher: on one that hangs, it fails later."""

_CALL_SECONDS: Final = 3.0
"""Maximum time that a turn waits for the file, each time it reads or changes it. Lower: a slow disk costs memory.
Higher: one that hangs delays an answer for longer."""

_EXPIRY_SECONDS: Final = 60.0
"""How often expired conversations are deleted while no turn ends. Lower: more reads of the file. Higher: they stay on
the disk for longer."""

_MODE: Final = 0o600
"""Only the owner reads what people wrote."""

_SETTINGS: Final = (
    # A journal that is empty after each change: a write-ahead log would keep what was forgotten.
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = NORMAL",
    # What is forgotten is overwritten.
    "PRAGMA secure_delete = ON",
    "PRAGMA cache_size = -1024",
)
_TABLE: Final = (
    "CREATE TABLE conversations (session TEXT PRIMARY KEY, expires_at REAL NOT NULL, conversation BLOB NOT NULL)",
    "CREATE INDEX expiry ON conversations (expires_at)",
    f"PRAGMA application_id = {MEMORY_FILE_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_READ: Final = "SELECT conversation FROM conversations WHERE session = ? AND expires_at > ?"
_WRITE: Final = "INSERT OR REPLACE INTO conversations VALUES (?, ?, ?)"
_EXPIRE: Final = "DELETE FROM conversations WHERE expires_at <= ?"
_FORGET_OLDEST: Final = (
    "DELETE FROM conversations WHERE session = (SELECT session FROM conversations ORDER BY expires_at LIMIT 1)"
)
_USED_BYTES: Final = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)

# By extended error code, or else by the primary one.
_CAUSES: Final = {
    sqlite3.SQLITE_PROTOCOL: NO_LOCKS,
    sqlite3.SQLITE_IOERR_LOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_UNLOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_RDLOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK: NO_LOCKS,
    sqlite3.SQLITE_BUSY: "is in use by another process: stop that one, or give each a file of its own",
    sqlite3.SQLITE_FULL: "cannot grow, its disk is full: free some space",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the gateway and move the file away, which forgets all conversations",
    sqlite3.SQLITE_NOTADB: "is no SQLite database: name another file",
    sqlite3.SQLITE_READONLY_DBMOVED: "was removed or replaced while in use: start the gateway again",
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "has an unfinished change of a process that was killed: start the gateway, or run this as the gateway's user"
    ),
    sqlite3.SQLITE_READONLY: "cannot be written: give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user the right to write the file and its folder",
}


class MemoryFile(MemoryStore):
    """Holds conversations in a file, once it is open. All of its work runs in one thread, in the order of the calls.

    Args:
        path: the file.
        now: returns seconds since the epoch.
        call_seconds: maximum time to wait for one call. While the thread hangs in one, others fail at once.
        expiry_seconds: how often expired conversations are deleted.
        limit_bytes: maximum size of the conversations; those that expire first are forgotten first.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], float],
        *,
        call_seconds: float = _CALL_SECONDS,
        expiry_seconds: float = _EXPIRY_SECONDS,
        limit_bytes: int = MEMORY_STORE_BYTES,
    ) -> None:
        self._path = path
        self._now = now
        self._call_seconds = call_seconds
        self._expiry_seconds = expiry_seconds
        self._limit_bytes = limit_bytes
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        # What the thread does now or did last, and what it did when a call took too long.
        self._current: Future[Any] = Future()
        self._hanging: Future[Any] | None = None
        self._opened = contextlib.ExitStack()

    async def open(self) -> Self:
        """Open or create the file. Raises MemoryUnavailable."""
        # A daemon thread, so that a process ends even if the disk hangs.
        threading.Thread(target=self._run_thread, args=(self._current,), name="maven-memory", daemon=True).start()
        try:
            await self._wait(self._current, _OPEN_SECONDS)
        except BaseException:
            self._calls.put(None)
            raise
        return self

    async def read(self, session: str, now: float) -> Conversation:
        return await self._call(lambda connection: _read(connection, session, now))

    async def change(self, session: str, change: Callable[[Conversation], Conversation], now: float) -> None:
        def run(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                changed = change(_read(connection, session, now))
                connection.execute(_EXPIRE, (now,))
                connection.execute(_WRITE, (session, changed.expires_at, msgspec.msgpack.encode(changed)))
                while _number(connection, _USED_BYTES) > self._limit_bytes:
                    if not connection.execute(_FORGET_OLDEST).rowcount:
                        break

        await self._call(run)

    async def close(self) -> None:
        try:
            with contextlib.suppress(MemoryUnavailable):
                await self._call(lambda _: self._opened.close())
        finally:
            # If this is cancelled, the thread still closes the file and ends.
            self._calls.put(None)

    async def _call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._hanging is not None and not self._hanging.done():
            raise self._too_slow()
        result: Future[_T] = Future()
        self._calls.put(_Call(work, result))
        return await self._wait(result, self._call_seconds)

    async def _wait(self, result: Future[_T], seconds: float) -> _T:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(result), seconds)
        except TimeoutError:
            self._hanging = self._current
            raise self._too_slow() from None
        except (sqlite3.Error, OSError, UnusableFile) as error:
            raise _unavailable(self._path, error) from None

    def _too_slow(self) -> MemoryUnavailable:
        return _unavailable(self._path, UnusableFile("does not answer in time: check its disk"))

    def _run_thread(self, opened: Future[None]) -> None:
        # Only this thread has the connection: as a process ends, no other one waits for a disk that hangs.
        opened.set_running_or_notify_cancel()
        try:
            connection = _open(self._path.absolute(), self._opened)
            _expire(connection, self._now())
        except BaseException as error:  # noqa: BLE001 - it is raised in `open`
            self._opened.close()
            opened.set_exception(error)
            return
        opened.set_result(None)
        while True:
            try:
                call = self._calls.get(timeout=self._expiry_seconds)
            except queue.Empty:
                # A later call reports what is wrong.
                with contextlib.suppress(sqlite3.Error):
                    _expire(connection, self._now())
                continue
            if call is None:
                break
            # False if its caller waits no longer.
            if call.result.set_running_or_notify_cancel():
                self._current = call.result
                call.run(connection)
        self._opened.close()


class _Call(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    result: Future[Any]

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            value = self.work(connection)
        except BaseException as error:  # noqa: BLE001 - it is raised in the event loop
            self.result.set_exception(error)
        else:
            self.result.set_result(value)


def _read(connection: sqlite3.Connection, session: str, now: float) -> Conversation:
    row = connection.execute(_READ, (session, now)).fetchone()
    if row is None:
        return Conversation()
    try:
        return msgspec.msgpack.decode(row[0], type=Conversation)
    except (msgspec.DecodeError, UnicodeError):
        # Not written by this version. The next turn replaces it.
        return Conversation()


def _expire(connection: sqlite3.Connection, now: float) -> None:
    with _transaction(connection):
        connection.execute(_EXPIRE, (now,))


def copy_memory(path: Path, copy: Path) -> None:
    """Copy a file of this store, which may be in use, into an empty file. The copy has all turns that ended before.

    Other processes can read the file meanwhile, and wait before they change it. This process must not use it: as it
    closes the file, the operating system releases all of its locks on it.

    Raises:
        MemoryUnavailable: the file cannot be copied; the message says why and what to do.
        OSError: the copy cannot be written.
    """
    path = path.absolute()
    if not path.exists():
        cause = "does not exist: name the file that the gateway uses, or run this in the gateway's working directory"
        raise _unavailable(path, UnusableFile(cause))
    mode = "ro" if others_can_change(path.parent) else "rw"
    try:
        _check_content(path, mode)
        with contextlib.closing(_connect(path, mode)) as connection:
            # From its first read on, a transaction keeps others from writing. SQLite takes longer to copy the pages.
            connection.execute("BEGIN")
            _number(connection, "SELECT count(*) FROM sqlite_master")
            shutil.copyfile(path, copy)
        with contextlib.closing(_connect(copy)) as connection:
            is_whole = connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]
    except (sqlite3.Error, UnusableFile) as error:
        raise _unavailable(path, error) from None
    if not is_whole:
        raise _unavailable(path, UnusableFile(_CAUSES[sqlite3.SQLITE_CORRUPT]))


def _check_content(path: Path, mode: str) -> None:
    check_file(path)
    if _is_empty(path, mode):
        message = "is empty, so there is nothing to copy: name the file that the gateway uses"
        raise UnusableFile(message)


def check_memory(path: Path) -> None:
    """Check, without writing, that an existing file is one of this store and not in use. Raises MemoryUnavailable."""
    path = path.absolute()
    try:
        check_file(path)
        _is_empty(path, "ro")
        if lock_path(path).exists():
            os.close(lock_file(path))
    except (sqlite3.Error, OSError, UnusableFile) as error:
        raise _unavailable(path, error) from None


def _open(path: Path, opened: contextlib.ExitStack) -> sqlite3.Connection:
    """Open or create the file. `opened` closes it and releases its lock."""
    with contextlib.suppress(FileExistsError):
        # SQLite would create the file with the rights of the umask.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _MODE))
    check_file(path)
    # Before locking, so that no lock file is created next to a file of another program.
    _is_empty(path)
    opened.callback(os.close, lock_file(path))
    # Only now no other process can fill it.
    is_empty = _is_empty(path)
    connection = opened.enter_context(contextlib.closing(_connect(path)))
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    with _transaction(connection):
        for statement in _TABLE if is_empty else ():
            connection.execute(statement)
    return connection


def _connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _is_empty(path: Path, mode: str = "rw") -> bool:
    """Return whether the file is empty. Raises MemoryUnavailable if it is not of this store. Nothing is written."""
    with contextlib.closing(_connect(path, mode)) as connection:
        # SQLite would create files for shared memory next to one of another program, but not in this mode.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        owner = _number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version")
        is_empty = not _number(connection, "SELECT count(*) FROM sqlite_master")
    if owner != (MEMORY_FILE_ID, _VERSION) and not (is_empty and owner == (0, 0)):
        message = "belongs to another program or to another version of this one: name another file"
        raise _unavailable(path, UnusableFile(message))
    return is_empty


def _unavailable(path: Path, error: sqlite3.Error | OSError | UnusableFile) -> MemoryUnavailable:
    if isinstance(error, UnusableFile):
        cause = str(error)
    elif isinstance(error, OSError):
        cause = f"cannot be opened: {os.strerror(error.errno or 0)}"
    else:
        code = getattr(error, "sqlite_errorcode", 0)
        cause = _CAUSES.get(code) or _CAUSES.get(code & 0xFF, "cannot be read or written: check its disk")
    return MemoryUnavailable(f"the file {path} of agent.memoryState {cause}")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
