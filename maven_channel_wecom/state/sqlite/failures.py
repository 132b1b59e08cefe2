"""What a failure of SQLite means for an operator: one sentence each, without anything out of the file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.errors import StateUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED: Final = "is damaged: stop the program, move the file and its -wal file away to start with an empty state"

_SENTENCES: Final = {
    sqlite3.SQLITE_FULL: "cannot grow, its disk is full: make room",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: "is no SQLite database, or is damaged: name another file, or move this one away",
    sqlite3.SQLITE_READONLY: "cannot be written: give this user the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_BUSY: "is in use by another process or channel: stop that one, or give each a file of its own",
    sqlite3.SQLITE_LOCKED: "is in use by another process or channel: stop that one, or give each a file of its own",
    sqlite3.SQLITE_IOERR: "cannot be read or written, its disk reports an error: check the disk, its quota and limits",
    sqlite3.SQLITE_NOMEM: "cannot be used, there is no memory left: give the process more",
}


class Damage(Exception):
    """An entry is not what was written."""


class Unusable(Exception):
    """The file cannot be used; the text is the rest of a sentence that begins with its name."""


def is_damage(error: Exception) -> bool:
    """Tell whether a file that gave this error must not be believed any more."""
    # Text that is no UTF-8 is found by Python: in an entry it is the one OperationalError without a code.
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
    return StateUnavailable(
        f"the state file {path} {sentence}", reason="state_full" if code == sqlite3.SQLITE_FULL else None
    )


def _primary_code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
