"""The table of the state file, the checksums of its rows, and the migration from older versions."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.state.store import StoredCallback

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

APPLICATION_ID: Final = 0x4D765763
"""Identifies a state file in the header of an SQLite file: the ASCII letters MvWc."""

VERSION: Final = 3

# One row for each message. A commit writes every page it changed, so rows are numbered in the order of their admission:
# rows that are written together, and expire together, share pages.
#
# - `until` is the time at which the claim and the window expire. A message in progress stays claimed beyond that.
# - The columns from `chat` to `window_checksum` describe the window while it is open (`claimed` = 0) or claimed (1).
#   They are NULL if it is spent, has expired or never existed.
# - `received_at` is NULL if the message is finished. `message` is NULL if it is finished or was answered: a process
#   that takes over an answered message only has to finish it.
TABLE: Final = """CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    until REAL NOT NULL,
    chat TEXT,
    sender_id TEXT,
    url TEXT,
    opened_at REAL,
    expires_at REAL,
    repeated INTEGER,
    claimed INTEGER,
    window_checksum INTEGER,
    received_at REAL,
    message BLOB,
    callback_checksum INTEGER
)"""

WINDOW: Final = "message_id, chat, sender_id, url, opened_at, expires_at, repeated, claimed, window_checksum"
CALLBACK: Final = "message_id, received_at, message, callback_checksum"

INSERT: Final = "INSERT OR IGNORE INTO messages VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""Insert a message; the parameters are a row of `new_row`."""

_EXPECTED: Final = [("messages", TABLE), ("sqlite_autoindex_messages_1", None)]

# The columns are those of `_insert_old_row`.
_OLD_ROWS: Final = {
    1: """
        SELECT message_id, until, windows.chat_id, sender_id, url, opened_at, expires_at, repeated, claimed,
            windows.checksum, callbacks.chat_id, received_at, message, callbacks.checksum
        FROM (
            SELECT message_id, max(until) AS until FROM (
                SELECT message_id, expires_at AS until FROM claims
                UNION ALL SELECT message_id, expires_at FROM windows
                UNION ALL SELECT message_id, received_at FROM callbacks
            ) GROUP BY message_id
        ) LEFT JOIN windows USING (message_id) LEFT JOIN callbacks USING (message_id)
        ORDER BY until
    """,
    2: """
        SELECT claims.message_id, until, chat_id, sender_id, url, opened_at, expires_at, repeated, claimed,
            window_checksum, chat_id, received_at, message, callback_checksum
        FROM claims LEFT JOIN old_messages USING (number)
        ORDER BY number
    """,
}
_OLD_TABLES: Final = {1: ("claims", "windows", "callbacks"), 2: ("claims", "old_messages")}
_FIND_UNCLAIMED: Final = """
    SELECT 1 FROM old_messages LEFT JOIN claims USING (number) WHERE claims.message_id IS NOT old_messages.message_id
"""

_encode: Final = msgspec.msgpack.Encoder().encode


class DamagedFile(Exception):
    """The file is damaged: a row, an index or the table is not what was written."""


def new_row(
    message_id: str, until: float, window: ReplyWindow | None, callback: StoredCallback | None, *, claimed: bool = False
) -> tuple[object, ...]:
    """Return the row of a message without its number. `callback` is None if the message is finished."""
    opened: tuple[object, ...] = (None,) * 8
    if window:
        times = window.opened_at, window.expires_at
        checksum = window_checksum(window, claimed=claimed)
        opened = (window.chat, window.sender_id, window.url, *times, window.repeated, claimed, checksum)
    if callback is None:
        return (message_id, until, *opened, None, None, None)
    return (message_id, until, *opened, callback.received_at, callback.message, callback_checksum(callback))


def read_window(row: Sequence[Any]) -> tuple[ReplyWindow, bool]:
    """Return a window from its columns, and whether it is claimed. Raises DamagedFile if the checksum is wrong."""
    message_id, chat, sender_id, url, opened_at, expires_at, repeated, claimed, checksum = row
    window = ReplyWindow(message_id, chat, sender_id, url, opened_at, expires_at, bool(repeated))
    if checksum != window_checksum(window, claimed=bool(claimed)):
        raise DamagedFile
    return window, bool(claimed)


def read_callback(row: Sequence[Any]) -> StoredCallback:
    """Return a callback from its columns. Raises DamagedFile if the checksum is wrong."""
    message_id, received_at, message, checksum = row
    callback = StoredCallback(message_id, received_at, message)
    if checksum != callback_checksum(callback):
        raise DamagedFile
    return callback


def window_checksum(window: ReplyWindow, *, claimed: bool) -> int:
    """Return the CRC-32 of a window, because SQLite has no checksums for its pages.

    Times are converted to float first, which is what SQLite returns for them.
    """
    times = float(window.opened_at), float(window.expires_at)
    texts = window.message_id, window.chat, window.sender_id, window.url
    return zlib.crc32(_encode((*texts, *times, window.repeated, claimed)))


def callback_checksum(callback: StoredCallback) -> int:
    """Return the CRC-32 of a callback."""
    return zlib.crc32(callback.message, zlib.crc32(_encode((callback.message_id, float(callback.received_at)))))


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Migrate a file from an older version to the current one in a single transaction. Version 0 is an empty file."""
    if version < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        if version == 2:  # noqa: PLR2004 - the versions are numbers
            connection.execute("ALTER TABLE messages RENAME TO old_messages")
            if connection.execute(_FIND_UNCLAIMED).fetchone():
                raise DamagedFile
        connection.execute(TABLE)
        if version:
            for row in connection.execute(_OLD_ROWS[version]):
                _insert_old_row(connection, row)
            for table in _OLD_TABLES[version]:
                connection.execute(f"DROP TABLE {table}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    if connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() != _EXPECTED:
        raise DamagedFile


def _insert_old_row(connection: sqlite3.Connection, row: Sequence[Any]) -> None:
    """Insert a row of an older version, whose chat ids do not include the kind of chat."""
    message_id, until, window_chat_id, *opened, callback_chat_id, received_at, message, checksum = row
    window = callback = None
    claimed = False
    if opened[1] is not None:
        window, claimed = read_window((message_id, window_chat_id, *opened))
        # The chat id of a single chat was the id of its sender.
        key = chat_key(window.chat, is_group=window.chat != window.sender_id)
        window = msgspec.structs.replace(window, chat=key)
    if received_at is not None and message is not None:
        if checksum != zlib.crc32(_encode((message_id, callback_chat_id, received_at, message))):
            raise DamagedFile
        callback = StoredCallback(message_id, received_at, message)
    connection.execute(INSERT, new_row(message_id, until, window, callback, claimed=claimed))
