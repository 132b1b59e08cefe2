"""The file of the SQLite state: created, judged, migrated and opened. Nothing here knows what its tables are for."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from maven_channel_wecom.state.sqlite.failures import Damage, Unusable, explain, is_damage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maven_channel_wecom.errors import StateUnavailable

APPLICATION_ID: Final = 0x4D765763
"""Says in the header of the file that it is ours: MvWc."""

Step = tuple[str, ...]

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


def path_problem(path: str) -> str | None:
    """Tell what is wrong with the path of an address, before any file is looked at; None when nothing is."""
    if not path or path.startswith((":", "//")) or "\0" in path:
        return 'must name a file after "sqlite:", such as "sqlite:/var/lib/maven/wecom.db"'
    return None


def open_file(path: Path, steps: Sequence[Step]) -> sqlite3.Connection:
    """Open the state file, created or brought up to the last of `steps` when it has to be, for the calling thread.

    Args:
        path: the file. A new one is readable by its owner alone: it will hold URLs and what users wrote.
        steps: the statements that bring each version of the schema to the next; version 0 is an empty file.

    Raises:
        StateUnavailable: a sentence that says what is wrong with the file and what to do.
    """
    connection: sqlite3.Connection | None = None
    try:
        _make(path)
        # SQLite does not create the file: it would be as readable as the umask allows.
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=0, isolation_level=None)
        _prepare(connection, steps)
    except (sqlite3.Error, Damage, Unusable, UnicodeDecodeError, OSError) as error:
        if connection:
            connection.close()
        raise _refusal(error, path) from None
    return connection


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
    # A file that is there is not opened here: closing it would drop the locks this process may hold on it.
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    _require(path, os.R_OK | os.W_OK)


def _require(place: Path, rights: int) -> None:
    if not os.access(place, rights, effective_ids=True):
        message = f"cannot be used: give this user the right to read and write {place}"
        raise Unusable(message)


def _prepare(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    # Before the first look, so that a second process fails at its first look.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA cell_size_check = ON")
    version = _judge(connection, len(steps))
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise Damage
    migrate(connection, version, steps)
    if _schema(connection) != _expected_schema(steps):
        raise Damage


def _judge(connection: sqlite3.Connection, newest: int) -> int:
    """Return the version of the schema. A file of somebody else is only read."""
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if not _number(connection, "SELECT count(*) FROM sqlite_master") and not application_id and not version:
        return 0
    if application_id != APPLICATION_ID:
        message = "is a database of another program: name another file"
        raise Unusable(message)
    if version > newest:
        message = (
            f"was written by a newer version of this program (schema {version}, known up to {newest}): "
            "run that version, or move the file away to start with an empty state"
        )
        raise Unusable(message)
    if version < 1:
        raise Damage
    return version


def migrate(connection: sqlite3.Connection, version: int, steps: Sequence[Step]) -> None:
    """Bring a file from a version to the last one, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    for step in steps[version:]:
        for statement in step:
            connection.execute(statement)
    if version < len(steps):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def _expected_schema(steps: Sequence[Step]) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, 0, steps)
        return _schema(connection)
    finally:
        connection.close()


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
