"""The file of the SQLite state: created, owned by one process, judged, migrated and opened; what its failures mean."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.schema import APPLICATION_ID, VERSION, Damage, migrate

if TYPE_CHECKING:
    from pathlib import Path

_BUSY_SECONDS: Final = 0.5
"""How long to wait for another program that holds a lock of SQLite's. Readers hold none that matters. Lower: refused
although the lock would have been released. Higher: callers wait longer for a sentence that says why."""

# A commit writes whole pages, and ids fall on pages at random: small ones are quicker. FULL: a commit returns when it
# is on the disk. The cache, 4 MiB, bounds memory; the WAL goes back into the file every 1,000 pages, 2 MiB, and starts
# over. The file itself keeps the size of its busiest hour: its free pages are used again, and giving them back would
# cost writes just when a disk is short.
_SETTINGS: Final = (
    "PRAGMA page_size = 2048",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 8388608",
    "PRAGMA cache_size = -4096",
    "PRAGMA temp_store = MEMORY",
)

_DAMAGED: Final = "is damaged: stop the program, move the file and its -wal file away to start with an empty state"
_IN_USE: Final = "is in use by another process or channel: stop that one, or give each a file of its own"
_NO_LOCK_FILE: Final = "has a lock file beside it (its name and .lock) that is no regular file: remove that"
_REPLACED: Final = "was removed or replaced while in use, or the .lock file beside it: start the program again"

_SENTENCES: Final = {
    sqlite3.SQLITE_FULL: "cannot grow, its disk is full: make room",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: "is no SQLite database, or is damaged: name another file, or move this one away",
    sqlite3.SQLITE_READONLY: "cannot be written: give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_BUSY: _IN_USE,
    sqlite3.SQLITE_LOCKED: _IN_USE,
    sqlite3.SQLITE_IOERR: "cannot be read or written, its disk reports an error: check the disk, its quota and limits",
    sqlite3.SQLITE_NOMEM: "cannot be used, there is no memory left: give the process more",
}


class StateInUse(StateUnavailable):
    """Another process, or another channel of this one, owns the file."""


class Unusable(Exception):
    """The file cannot be used; the text is the rest of a sentence that begins with its name."""


class StateFile:
    """An open state file. It is used and closed by the thread that opened it.

    The process that has it open owns it, by a lock of the operating system on `PATH.lock`, which ends with the process.
    SQLite's own locks are its ordinary ones, so that other programs can read or copy the file meanwhile.

    Args:
        path: the file. A new one is readable by its owner alone: it will hold URLs and what users wrote.

    Raises:
        StateUnavailable: a sentence that says what is wrong with the file and what to do.
    """

    def __init__(self, path: Path) -> None:
        # Absolute, so that it stays the same file and its sentences say where it is.
        self.path = path.absolute()
        with contextlib.ExitStack() as stack:
            try:
                _make(self.path)
                # Before the lock, so that no lock file is made beside the file of another program.
                with contextlib.closing(_connect(self.path)) as connection:
                    _judge(connection)
                self._lock_path, lock = _lock(self.path)
                stack.callback(os.close, lock)
                self._inodes = self.path.stat().st_ino, os.fstat(lock).st_ino
                self.connection = _connect(self.path)
                stack.callback(_close, self.connection)
                _prepare(self.connection)
            except (sqlite3.Error, Damage, Unusable, UnicodeDecodeError, OSError) as error:
                raise _refusal(error, self.path) from None
            self._stack = stack.pop_all()

    def check_place(self) -> None:
        """Raise Unusable when nobody would find the file again, or somebody else may own it by now."""
        try:
            inodes = self.path.stat().st_ino, self._lock_path.stat().st_ino
        except OSError:
            inodes = None
        if inodes != self._inodes:
            raise Unusable(_REPLACED)

    def close(self) -> None:
        """Close the file; its WAL goes into it. Then another process may own it."""
        self._stack.close()


def path_problem(path: str) -> str | None:
    """Tell what is wrong with the path of an address, before any file is looked at; None when nothing is."""
    if not path or path.startswith((":", "//")) or "\0" in path:
        return 'must name a file after "sqlite:", such as "sqlite:/var/lib/maven/wecom.db"'
    return None


def is_damage(error: Exception) -> bool:
    """Tell whether a file that gave this error must not be believed any more."""
    # Text that is no UTF-8 is found by Python: in a row it is the one OperationalError without a code.
    code = _primary_code(error)
    return (
        isinstance(error, Damage | UnicodeDecodeError)
        or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        or (isinstance(error, sqlite3.OperationalError) and code is None)
    )


def explain(error: Exception, path: Path) -> StateUnavailable | None:
    """Return what to raise for a failure of the file or the machine; None when one operation is to blame."""
    code = _primary_code(error)
    if isinstance(error, Unusable):
        sentence = str(error)
    elif code in _SENTENCES:
        sentence = _SENTENCES[code]
    elif is_damage(error):
        sentence = _DAMAGED
    else:
        return None
    text = f"the state file {path} {sentence}"
    if sentence == _IN_USE:
        return StateInUse(text)
    return StateUnavailable(text, reason="state_full" if code == sqlite3.SQLITE_FULL else None)


def _primary_code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _make(path: Path) -> None:
    """Make the file if there is none, and see that it is one to read and write."""
    if not path.parent.is_dir():
        message = f"cannot be made, there is no folder {path.parent}: create it"
        raise Unusable(message)
    if path.is_dir():
        message = "is a folder: name a file in it"
        raise Unusable(message)
    # The WAL lies beside the file.
    _require(path.parent, os.W_OK | os.X_OK)
    # An existing file is not opened here: closing it would drop the locks of SQLite's that this process may hold on it.
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    _require(path, os.R_OK | os.W_OK)


def _require(place: Path, rights: int) -> None:
    if not os.access(place, rights, effective_ids=True):
        message = f"cannot be used: give this user the right to read and write {place}"
        raise Unusable(message)


def _lock(path: Path) -> tuple[Path, int]:
    """Own the file: return the path of its lock file and a descriptor, whose closing gives the file back."""
    # Resolved, so that one file has one lock, whatever link leads to it.
    target = path.resolve()
    lock_path = target.with_name(f"{target.name}.lock")
    if lock_path.exists():
        _require(lock_path, os.R_OK | os.W_OK)
    lock, is_new = _open_lock(lock_path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_new and os.geteuid() == 0:
            # As SQLite does with its own files: an administrator who looks must not lock out the user who owns them.
            owner = target.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            raise Unusable(_IN_USE) from None
        raise
    return lock_path, lock


def _open_lock(path: Path) -> tuple[int, bool]:
    """Return a descriptor of the lock file, and whether it is new.

    A link is not followed: whoever may write in the folder could have root create, or give away, any other file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(FileExistsError):
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
    try:
        lock = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unusable(_NO_LOCK_FILE) from None
        raise
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise Unusable(_NO_LOCK_FILE)
    return lock, False


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite does not create the file: it would be as readable as the umask allows.
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _close(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA cell_size_check = ON")
    version = _judge(connection)
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    # Not the quick one, which does not look whether the index leads to the rows it says.
    if connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
        raise Damage
    migrate(connection, version)


def _judge(connection: sqlite3.Connection) -> int:
    """Return the version of the schema. The file of another program is only read."""
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if not _number(connection, "SELECT count(*) FROM sqlite_master") and not application_id and not version:
        return 0
    if application_id != APPLICATION_ID:
        message = "is a database of another program: name another file"
        raise Unusable(message)
    if version > VERSION:
        message = (
            f"was written by a newer version of this program (schema {version}, known up to {VERSION}): "
            "run that version, or move the file away to start with an empty state"
        )
        raise Unusable(message)
    if version < 1:
        raise Damage
    return version


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _refusal(error: Exception, path: Path) -> StateUnavailable:
    if isinstance(error, OSError):
        error = Unusable(f"cannot be opened: {os.strerror(error.errno or 0)}")
    elif not is_damage(error) and not explain(error, path):
        # A statement of ours that does not fit the tables: they are not as we made them.
        error = Damage()
    refusal = explain(error, path)
    if refusal is None:
        raise error
    return refusal
