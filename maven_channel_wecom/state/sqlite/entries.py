"""The entries in the state file and what is done to them, one plain call each inside a transaction of the writer."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback
from maven_channel_wecom.state.sqlite.failures import Damage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from maven_channel_wecom.state.sqlite.file import Step

STEPS: Final[tuple[Step, ...]] = (
    (
        "CREATE TABLE claims (message_id TEXT PRIMARY KEY, expires_at REAL NOT NULL) WITHOUT ROWID",
        "CREATE INDEX claims_by_end ON claims (expires_at)",
        # Open and claimed windows; one that was spent is deleted, and its callback loses its message.
        """CREATE TABLE windows (
            message_id TEXT PRIMARY KEY,
            chat_id TEXT NOT NULL,
            sender_id TEXT NOT NULL,
            url TEXT NOT NULL,
            opened_at REAL NOT NULL,
            expires_at REAL NOT NULL,
            repeated INTEGER NOT NULL,
            claimed INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX windows_by_chat ON windows (chat_id, opened_at) WHERE claimed = 0",
        "CREATE INDEX windows_by_end ON windows (expires_at)",
        # Callbacks in hand. A message that is NULL was answered: nobody needs it again.
        """CREATE TABLE callbacks (
            message_id TEXT PRIMARY KEY,
            chat_id TEXT NOT NULL,
            received_at REAL NOT NULL,
            message BLOB,
            checksum INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
)
"""The versions of the schema. What was released stays as it is; a change is one more step."""

# Each operation adds at most one entry of a kind, so this keeps up, and works off what a pause left behind.
_EXPIRIES_PER_OPERATION: Final = 3
_EXPIRIES_PER_BATCH: Final = 20

_INSERT_CLAIM: Final = """
    INSERT INTO claims SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM callbacks WHERE message_id = ?1)
    ON CONFLICT (message_id) DO UPDATE SET expires_at = excluded.expires_at WHERE expires_at <= ?3
"""
_INSERT_CALLBACK: Final = "INSERT INTO callbacks VALUES (?, ?, ?, ?, ?)"
_INSERT_WINDOW: Final = "INSERT OR IGNORE INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEWEST_WINDOW: Final = """
    SELECT * FROM windows WHERE chat_id = ? AND claimed = 0 AND expires_at > ? ORDER BY opened_at DESC LIMIT 1
"""
_SPARE_WINDOW: Final = """
    SELECT * FROM windows WHERE chat_id = ? AND claimed = 0 AND expires_at > ? AND sender_id = ?
    AND NOT EXISTS (SELECT 1 FROM callbacks WHERE callbacks.message_id = windows.message_id)
    ORDER BY opened_at DESC LIMIT 1
"""
_MARK_WINDOW: Final = """
    UPDATE windows SET repeated = ?, claimed = ?, checksum = ? WHERE message_id = ? AND opened_at = ?
"""
_EXPIRE_CLAIMS: Final = """
    DELETE FROM claims
    WHERE message_id IN (SELECT message_id FROM claims WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""


class Entries:
    """Claims, windows and callbacks in one open file.

    Windows and callbacks carry a checksum, since SQLite has none for its pages: a damaged URL or text raises Damage and
    is never given out. A damaged claim is only one that matches no message.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._now = 0.0
        self.open_windows = 0
        self.expired_windows = 0

    def take_over(self) -> list[KeptCallback]:
        """Take over what earlier processes left, oldest first; see StateStore.unfinished."""
        self._execute("DELETE FROM callbacks WHERE message IS NULL")
        claimed_windows = []
        for row in self._execute("SELECT * FROM windows"):
            window, claimed = _read_window(row)
            if claimed:
                claimed_windows.append(window)
            else:
                self.open_windows += 1
        for window in claimed_windows:
            if self._is_in_hand(window.message_id):
                self._reopen(window)
        rows = self._execute("SELECT * FROM callbacks ORDER BY received_at").fetchall()
        return [_read_callback(row) for row in rows]

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        """See StateStore."""
        self._now = now
        message_id = callback.message_id
        if not self._execute(_INSERT_CLAIM, (message_id, now + CLAIM_SECONDS, now)).rowcount:
            return False
        self._execute(
            _INSERT_CALLBACK,
            (message_id, callback.chat_id, callback.received_at, callback.message, _callback_checksum(callback)),
        )
        if window:
            self._insert_window(window)
        return True

    def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._now = now
        answering = self._execute(
            "SELECT 1 FROM windows WHERE message_id = ?1 AND claimed"
            " UNION ALL SELECT 1 FROM callbacks WHERE message_id = ?1 AND message IS NULL",
            (message_id,),
        ).fetchone()
        self._delete("callbacks", message_id)
        if not answering:
            self._delete("claims", message_id)
            self.open_windows -= self._delete("windows", message_id)

    def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._now = now
        self._delete("callbacks", message_id)

    def claim_window(self, chat_id: str, reply_to: str | None, now: float, spare_of: str | None) -> ReplyWindow | None:
        """See StateStore."""
        self._now = now
        if reply_to is not None:
            found = self._execute("SELECT * FROM windows WHERE message_id = ?", (reply_to,))
        elif spare_of is not None:
            found = self._execute(_SPARE_WINDOW, (chat_id, now, spare_of))
        else:
            found = self._execute(_NEWEST_WINDOW, (chat_id, now))
        row = found.fetchone()
        if row is None:
            return None
        window, claimed = _read_window(row)
        if claimed or window.chat_id != chat_id or window.expires_at <= now:
            return None
        self._mark(window, claimed=True)
        self.open_windows -= 1
        return window

    def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._now = now
        self._delete("windows", window.message_id)
        self._execute("UPDATE callbacks SET message = NULL WHERE message_id = ?", (window.message_id,))

    def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._now = now
        restored = self._mark(window, claimed=False)
        self.open_windows += restored
        if not restored and window.expires_at <= now:
            self.expired_windows += 1

    def probe(self) -> None:
        """Write something that changes nothing, so that its commit tells whether writing works."""
        version = len(STEPS)
        self._execute(f"PRAGMA user_version = {version}")

    def expire(self, operations: int) -> None:
        """Delete a few expired entries, some more than so many operations can have added."""
        limit = _EXPIRIES_PER_BATCH + operations * _EXPIRIES_PER_OPERATION
        self._execute(_EXPIRE_CLAIMS, (self._now, limit))
        expired = self._execute(
            "SELECT message_id, claimed FROM windows WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
            (self._now, limit),
        ).fetchall()
        for message_id, claimed in expired:
            self._delete("windows", message_id)
            self.open_windows -= not claimed
            self.expired_windows += not claimed

    def _insert_window(self, window: ReplyWindow) -> None:
        row = (*msgspec.structs.astuple(window), False, _window_checksum(window, claimed=False))
        if not self._execute(_INSERT_WINDOW, row).rowcount:
            # The message was known, and its claim expired before its window did.
            self._delete("windows", window.message_id)
            self.open_windows -= 1
            self._execute(_INSERT_WINDOW, row)
        self.open_windows += 1

    def _reopen(self, window: ReplyWindow) -> None:
        """Open a window whose process died while answering through it."""
        self._mark(msgspec.structs.replace(window, repeated=True), claimed=False)
        self.open_windows += 1

    def _mark(self, window: ReplyWindow, *, claimed: bool) -> int:
        checksum = _window_checksum(window, claimed=claimed)
        row = (window.repeated, claimed, checksum, window.message_id, window.opened_at)
        return self._execute(_MARK_WINDOW, row).rowcount

    def _is_in_hand(self, message_id: str) -> bool:
        return self._execute("SELECT 1 FROM callbacks WHERE message_id = ?", (message_id,)).fetchone() is not None

    def _delete(self, table: str, message_id: str) -> int:
        return self._execute(f"DELETE FROM {table} WHERE message_id = ?", (message_id,)).rowcount  # noqa: S608 - one of three names


def _read_window(row: tuple[Any, ...]) -> tuple[ReplyWindow, bool]:
    message_id, chat_id, sender_id, url, opened_at, expires_at, repeated, claimed, checksum = row
    window = ReplyWindow(message_id, chat_id, sender_id, url, opened_at, expires_at, bool(repeated))
    if checksum != _window_checksum(window, claimed=bool(claimed)):
        raise Damage
    return window, bool(claimed)


def _read_callback(row: tuple[Any, ...]) -> KeptCallback:
    message_id, chat_id, received_at, message, checksum = row
    callback = KeptCallback(message_id, chat_id, received_at, message)
    if checksum != _callback_checksum(callback):
        raise Damage
    return callback


def _window_checksum(window: ReplyWindow, *, claimed: bool) -> int:
    return _checksum((*msgspec.structs.astuple(window), claimed))


def _callback_checksum(callback: KeptCallback) -> int:
    return _checksum(msgspec.structs.astuple(callback))


def _checksum(values: tuple[object, ...]) -> int:
    """Return the CRC-32 of values and their types. A whole number counts as the float that SQLite gives back for it."""
    return zlib.crc32(msgspec.msgpack.encode([float(value) if type(value) is int else value for value in values]))
