"""The file of the SQLite backend: how it is created, locked, checked and opened, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from maven_channel_wecom.clock import ClockOffset
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.file_lock import (
    IN_USE,
    NO_LOCKS,
    UnusableFile,
    check_access,
    check_file,
    lock_file,
    lock_path,
    others_can_change,
)
from maven_channel_wecom.state.sqlite.schema import APPLICATION_ID, VERSION, DamagedFile, migrate

if TYPE_CHECKING:
    from pathlib import Path

_BUSY_SECONDS: Final = 0.5
"""Maximum time to wait for another program that holds one of SQLite's write locks, in seconds. Lower: an operation
fails although the lock would soon have been released. Higher: callers wait longer for the error."""

_MAX_LOCK_FILE_BYTES: Final = 1_024

# A commit writes whole pages, and message ids are spread over pages at random, so small pages are faster. With
# synchronous = FULL a commit returns once it is on the disk. The cache of 4 MiB bounds memory. The WAL is written back
# to the file and restarted every 1,000 pages (2 MiB). The file is never shrunk: free pages are reused, and releasing
# them would cost writes just when disk space is short.
_SETTINGS: Final = (
    "PRAGMA page_size = 2048",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 8388608",
    "PRAGMA cache_size = -4096",
    "PRAGMA temp_store = MEMORY",
)

_DAMAGED: Final = "is damaged: stop the program, and move the file and its -wal file away to start with an empty state"
_REPLACED: Final = "or its .lock file was removed or replaced while in use: start the program again"
_NO_TARGET: Final = "is a symbolic link that leads nowhere: remove the link, or create the folder and file it names"

# By extended error code, or else by the primary one.
_SENTENCES: Final = {
    sqlite3.SQLITE_PROTOCOL: NO_LOCKS,
    sqlite3.SQLITE_IOERR_LOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_UNLOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_RDLOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK: NO_LOCKS,
    sqlite3.SQLITE_IOERR_SHMMAP: NO_LOCKS,
    sqlite3.SQLITE_IOERR_SHMLOCK: NO_LOCKS,
    sqlite3.SQLITE_READONLY_CANTLOCK: NO_LOCKS,
    sqlite3.SQLITE_FULL: "cannot grow, its disk is full: free some space",
    sqlite3.SQLITE_NOLFS: (
        "is too large for this system, which has no support for files of 2 GiB and more: "
        "run the program on a system that has, or move the file away to start with an empty state"
    ),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: "is damaged or not an SQLite database: name another file, or move this one away",
    sqlite3.SQLITE_READONLY: "cannot be written: give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_BUSY: IN_USE,
    sqlite3.SQLITE_LOCKED: IN_USE,
    sqlite3.SQLITE_IOERR: "cannot be read or written, its disk reports an error: check the disk, its quota and limits",
    sqlite3.SQLITE_NOMEM: "cannot be used, the process is out of memory: give it more memory",
}


# While a file is copied, only the copy is written.
_WRITE_ERRORS: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
    }
)


class StateInUse(StateUnavailable):
    """Another process, or another channel of this one, owns the file."""


_OPENING_ERRORS: Final = (sqlite3.Error, DamagedFile, UnusableFile, UnicodeDecodeError, OSError)


class StateFile:
    """An open state file, used and closed by the thread that opened it.

    The process that opened it owns it: it holds an operating system lock on `PATH.lock`, which is released when the
    process ends, and records the offset of its clock in that file. SQLite's own locking mode is the default one, so
    other programs can read or copy the file in use.

    Args:
        path: the file. A new file is readable by its owner only, because it will hold URLs and users' messages.

    Raises:
        StateUnavailable: the file cannot be used; the message says why and what to do.
    """

    def __init__(self, path: Path) -> None:
        # Absolute, so that a change of the working directory does not matter and error messages show the full path.
        self.path = path.absolute()
        with contextlib.ExitStack() as stack:
            try:
                _create(self.path)
                # Before locking, so that no lock file is created next to a file of another program.
                with contextlib.closing(_connect(self.path)) as connection:
                    _read_version(connection)
                self._lock_path = lock_path(self.path)
                self._lock = lock_file(self.path)
                stack.callback(os.close, self._lock)
                self._inodes = self.path.stat().st_ino, os.fstat(self._lock).st_ino
                self.connection = _connect(self.path)
                stack.callback(_close, self.connection)
                _set_up(self.connection)
            except _OPENING_ERRORS as error:
                raise _to_unavailable(error, self.path) from None
            self._stack = stack.pop_all()

    def check_identity(self) -> None:
        """Raise UnusableFile if the state file or its lock file was removed or replaced since it was opened."""
        try:
            inodes = self.path.stat().st_ino, self._lock_path.stat().st_ino
        except OSError:
            inodes = None
        if inodes != self._inodes:
            raise UnusableFile(_REPLACED)

    def clock_adjustment(self, offset: ClockOffset | None) -> float:
        """Return by how many seconds the times in the file have to be moved, because the system clock was adjusted.

        This is known if the process that last recorded its clock's offset in the lock file ran on the same boot of the
        machine; otherwise 0 is returned.
        """
        try:
            recorded = msgspec.json.decode(os.pread(self._lock, _MAX_LOCK_FILE_BYTES, 0), type=ClockOffset)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return 0.0
        return offset.seconds - recorded.seconds if offset and offset.boot_id == recorded.boot_id else 0.0

    def record_clock(self, offset: ClockOffset | None) -> None:
        """Record the offset of the clock whose times this process will store. It is not needed after a power failure.

        On a full disk nothing is recorded: a wrong offset would be worse than none.
        """
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, msgspec.json.encode(offset) if offset else b"", 0)

    def close(self) -> None:
        """Close the file, which writes its WAL back into it, and release the lock."""
        self._stack.close()


def probe_file(path: Path) -> int:
    """Check whether a process could open and write an existing file, and return the version of its schema.

    No file is created. The version number is written to a file of the current version; an older file, or an empty one
    (0), is only read, and by root also one in a folder that others can change.

    Raises:
        StateUnavailable: the file cannot be used; the message says why and what to do.
    """
    path = path.absolute()
    with contextlib.ExitStack() as stack:
        try:
            _check_file(path)
            # A process that owns the file has a lock file.
            if os.path.lexists(lock_path(path)):
                stack.callback(os.close, lock_file(path))
            is_only_read = others_can_change(path.parent)
            mode = "ro" if is_only_read else "rw"
            connection = stack.enter_context(contextlib.closing(_connect(path, mode=mode)))
            version = _read_version(connection)
            if version == VERSION and not is_only_read:
                _set_up(connection)
                connection.execute(f"PRAGMA user_version = {version}")
            else:
                _check_integrity(connection)
        except _OPENING_ERRORS as error:
            raise _to_unavailable(error, path) from None
    return version


def copy_file(path: Path, copy: Path) -> None:
    """Copy a state file, which may be in use, into an empty file. The copy has everything that was committed before.

    Raises:
        StateUnavailable: the file cannot be copied; the message says why and what to do.
        OSError: the copy cannot be written.
    """
    path = path.absolute()
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as destination:
        try:
            _copy(path, destination)
        except _OPENING_ERRORS as error:
            if getattr(error, "sqlite_errorcode", None) in _WRITE_ERRORS:
                reason = "its disk is full or reports an error"
                raise OSError(errno.EIO, reason) from None
            raise _to_unavailable(error, path) from None


def path_problem(path: str) -> str | None:
    """Return what is wrong with the path in an address, without accessing the file; None if it is valid."""
    if not path or path.startswith((":", "//")) or "\0" in path:
        return 'must name a file after "sqlite:", such as "sqlite:/var/lib/maven-wecom/wecom.db"'
    return None


def is_damage(error: Exception) -> bool:
    """Return whether an error means that the file is damaged and must not be used any more."""
    # Invalid UTF-8 is detected by Python. In a row it raises the only OperationalError that has no code.
    code = _primary_code(error)
    return (
        isinstance(error, DamagedFile | UnicodeDecodeError)
        or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        or (isinstance(error, sqlite3.OperationalError) and code is None)
    )


def explain(error: Exception, path: Path) -> StateUnavailable | None:
    """Return the StateUnavailable for an error of the file or the machine; None if a single operation is at fault."""
    code = _primary_code(error)
    if isinstance(error, UnusableFile):
        sentence = str(error)
    elif (extended := getattr(error, "sqlite_errorcode", None)) in _SENTENCES:
        sentence = _SENTENCES[extended]
    elif code in _SENTENCES:
        sentence = _SENTENCES[code]
    elif is_damage(error):
        sentence = _DAMAGED
    else:
        return None
    text = f"the state file {path} {sentence}"
    if sentence == IN_USE:
        return StateInUse(text)
    return StateUnavailable(text, reason="state_full" if code == sqlite3.SQLITE_FULL else None)


def _primary_code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _create(path: Path) -> None:
    """Create the file if it does not exist, and check that it can be read and written."""
    if not path.parent.is_dir():
        message = f"cannot be created because there is no folder {path.parent}: create the folder"
        raise UnusableFile(message)
    check_access(path.parent, os.W_OK | os.X_OK)
    # An existing file is not opened here: closing it would release SQLite's locks that this process may hold on it.
    check_link(path)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    _check_file(path)


def _check_file(path: Path) -> None:
    """Check that a file can be read and written, and its WAL in the same folder too."""
    check_file(path)
    check_access(path.parent, os.W_OK | os.X_OK)
    check_access(path, os.R_OK | os.W_OK)


def check_link(path: Path) -> None:
    """Raise UnusableFile if a path is a symbolic link to nothing or to itself. It is not followed to create a file."""
    if path.is_symlink() and not path.exists():
        raise UnusableFile(_NO_TARGET)


def _connect(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    # SQLite must not create the file, because its permissions would then depend on the umask.
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _copy(path: Path, destination: sqlite3.Connection) -> None:
    if not path.exists():
        message = "does not exist: name the file that the gateway uses, or run this in the gateway's working directory"
        raise UnusableFile(message)
    check_file(path)
    with contextlib.closing(_connect(path, mode="ro")) as source:
        if not _read_version(source):
            message = "is empty, so there is nothing to copy: name the file that the gateway uses"
            raise UnusableFile(message)
        # In one step, from one read transaction, which blocks no writer. In several it would begin anew after a write.
        source.backup(destination)
    _check_integrity(destination)


def _close(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA cell_size_check = ON")
    version = _read_version(connection)
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    _check_integrity(connection)
    migrate(connection, version)
    # Without shared memory SQLite keeps the old mode and reports no error. Other errors were raised above.
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        raise UnusableFile(NO_LOCKS)


def _check_integrity(connection: sqlite3.Connection) -> None:
    # Not quick_check, which does not compare the index with the rows.
    if connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
        raise DamagedFile


def _read_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema, and refuse a file of another program. Nothing is written."""
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if not _number(connection, "SELECT count(*) FROM sqlite_master") and not application_id and not version:
        return 0
    if application_id != APPLICATION_ID:
        message = "is a database of another program: name another file"
        raise UnusableFile(message)
    if version > VERSION:
        message = (
            f"was written by a newer version of this program (schema {version}, supported up to {VERSION}): "
            "run that version, or move the file away to start with an empty state"
        )
        raise UnusableFile(message)
    if version < 1:
        raise DamagedFile
    return version


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _to_unavailable(error: Exception, path: Path) -> StateUnavailable:
    if isinstance(error, OSError):
        error = UnusableFile(f"cannot be opened: {os.strerror(error.errno or 0)}")
    elif isinstance(error, sqlite3.Error) and not explain(error, path):
        # A statement of this program failed although the table is the one that was created.
        name = getattr(error, "sqlite_errorname", "an error")
        error = UnusableFile(
            f"cannot be used, SQLite reports {name}: start the program again, and if that does not help, "
            "move the file away to start with an empty state"
        )
    unavailable = explain(error, path)
    if unavailable is None:
        raise error
    return unavailable
