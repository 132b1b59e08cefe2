"""The operations on messages in the state file. Each runs inside a transaction that the writer has begun."""

# ruff: noqa: S608 - statements are built from constants only

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.state.sqlite.schema import (
    CALLBACK,
    INSERT,
    VERSION,
    WINDOW,
    DamagedFile,
    callback_checksum,
    new_row,
    read_callback,
    read_window,
    window_checksum,
)
from maven_channel_wecom.state.store import CLAIM_SECONDS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import Admission, StoredCallback

_EXPIRIES_PER_BATCH: Final = 20
"""Number of expired messages that a commit may remove, in addition to three for each message it may have added. Lower:
a backlog of expired messages is removed more slowly. Higher: commits take longer."""
_EXPIRIES_PER_ADDITION: Final = 3

_CLOCK_TOLERANCE_SECONDS: Final = 60.0
"""Seconds by which stored times may be wrong. Lower: a small correction of the system clock between two runs rewrites
the file. Higher: messages expire earlier or later by up to this time."""

# The index gives the number; the message id of that row is compared too, in case the index is damaged.
_BY_MESSAGE_ID: Final = "(number, message_id) = (SELECT number, message_id FROM messages WHERE message_id = ?)"
_CLEAR_WINDOW: Final = ", ".join(f"{column} = NULL" for column in WINDOW.split(", ")[1:])

_FIND_CLAIM: Final = f"SELECT number, until, received_at IS NOT NULL FROM messages WHERE {_BY_MESSAGE_ID}"
_FIND_IN_PROGRESS: Final = (
    f"SELECT claimed, {CALLBACK} FROM messages WHERE {_BY_MESSAGE_ID} AND received_at IS NOT NULL"
)
_FIND_WINDOW: Final = f"SELECT {WINDOW} FROM messages WHERE {_BY_MESSAGE_ID} AND claimed = 0"
_FIND_NEWEST: Final = f"""
    SELECT {WINDOW} FROM messages WHERE number = (
        SELECT number FROM open_windows JOIN messages USING (number)
        WHERE open_windows.chat = ? AND expires_at > ? ORDER BY open_windows.opened_at DESC LIMIT 1
    )
"""
_FIND_SPARE: Final = f"""
    SELECT {WINDOW} FROM messages WHERE number = (
        SELECT number FROM open_windows JOIN messages USING (number)
        WHERE open_windows.chat = ? AND expires_at > ? AND sender_id = ? AND received_at IS NULL
        ORDER BY open_windows.opened_at DESC LIMIT 1
    )
"""
_MARK_WINDOW: Final = f"""
    UPDATE messages SET repeated = ?, claimed = ?, window_checksum = ?
    WHERE {_BY_MESSAGE_ID} AND opened_at = ? AND claimed = ?
"""
_SPEND_WINDOW: Final = f"""
    UPDATE messages SET {_CLEAR_WINDOW}, message = NULL, callback_checksum = NULL
    WHERE {_BY_MESSAGE_ID} AND (opened_at = ? OR opened_at IS NULL)
"""
_FINISH: Final = f"""
    UPDATE messages SET received_at = NULL, message = NULL, callback_checksum = NULL
    WHERE {_BY_MESSAGE_ID} AND received_at IS NOT NULL
"""
_FIND_LATEST_TIMES: Final = "SELECT max(opened_at), max(received_at) FROM messages"
_MOVE_WINDOW: Final = f"""
    UPDATE messages SET opened_at = ?, expires_at = ?, window_checksum = ? WHERE {_BY_MESSAGE_ID}
"""
_MOVE_CALLBACK: Final = f"UPDATE messages SET received_at = ?, callback_checksum = ? WHERE {_BY_MESSAGE_ID}"
_FINISH_ANSWERED: Final = "UPDATE messages SET received_at = NULL WHERE received_at IS NOT NULL AND message IS NULL"
_EXTEND_CLAIM: Final = f"""
    UPDATE messages SET {_CLEAR_WINDOW}, until = ?, number = (SELECT max(number) FROM messages) + 1 WHERE number = ?
"""

_FILL_INDEX: Final = "INSERT INTO open_windows SELECT chat, opened_at, number FROM messages WHERE claimed = 0"

# The open windows of each chat. The table is temporary and therefore in memory: an index in the file would be written
# with every message, and this one can be rebuilt from `messages` when the file is opened.
_CREATE_INDEX: Final = (
    """CREATE TEMP TABLE open_windows (
            chat, opened_at, number, PRIMARY KEY (chat, opened_at, number)
        ) WITHOUT ROWID""",
    _FILL_INDEX,
    """CREATE TEMP TRIGGER opened AFTER INSERT ON messages WHEN new.claimed = 0 BEGIN
        INSERT INTO open_windows VALUES (new.chat, new.opened_at, new.number);
    END""",
    """CREATE TEMP TRIGGER reopened AFTER UPDATE OF claimed ON messages WHEN new.claimed = 0 BEGIN
        INSERT INTO open_windows VALUES (new.chat, new.opened_at, new.number);
    END""",
    """CREATE TEMP TRIGGER closed AFTER UPDATE OF claimed ON messages WHEN old.claimed = 0 BEGIN
        DELETE FROM open_windows WHERE (chat, opened_at, number) = (old.chat, old.opened_at, old.number);
    END""",
    """CREATE TEMP TRIGGER dropped AFTER DELETE ON messages WHEN old.claimed = 0 BEGIN
        DELETE FROM open_windows WHERE (chat, opened_at, number) = (old.chat, old.opened_at, old.number);
    END""",
)


class Entries:
    """The claims, reply windows and callbacks in one open file.

    A window or callback whose checksum is wrong is never returned; its operation raises DamagedFile. Claims have no
    checksum: a damaged one matches no message.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._now = 0.0
        # No message expires before this time.
        self._first_expiry = -math.inf
        self._additions = 0
        self.open_windows = 0
        self.expired_windows = 0

    def take_over(self, clock_adjustment: float) -> list[StoredCallback]:
        """Take over the entries of earlier processes and return the callbacks they left in progress, oldest first.

        All times are moved by `clock_adjustment` seconds first.
        """
        self._execute(_FINISH_ANSWERED)
        if abs(clock_adjustment) > _CLOCK_TOLERANCE_SECONDS:
            self._execute("UPDATE messages SET until = until + ?", (clock_adjustment,))
            self._move_times(clock_adjustment)
        for statement in _CREATE_INDEX:
            self._execute(statement)
        interrupted = []
        for *row, in_progress in self._execute(
            f"SELECT {WINDOW}, received_at IS NOT NULL FROM messages WHERE url IS NOT NULL"
        ):
            window, claimed = read_window(row)
            if not claimed:
                self.open_windows += 1
            elif in_progress:
                interrupted.append(window)
        for window in interrupted:
            # Its process died while a reply was being sent.
            self.open_windows += self._mark(msgspec.structs.replace(window, repeated=True), claimed=False)
        rows = self._execute(f"SELECT {CALLBACK} FROM messages WHERE received_at IS NOT NULL ORDER BY received_at")
        return [read_callback(row) for row in rows]

    def shift_into_past(self, now: float) -> float:
        """Shift the times of windows and callbacks if some are in the future, and return the number of seconds.

        They are if the system clock was ahead when they were written, and the machine was booted since. Claims are
        shortened to their normal lifetime: otherwise they, and all that follow them, would expire late.
        """
        self._execute("UPDATE messages SET until = ? WHERE until > ?", (now + CLAIM_SECONDS,) * 2)
        self._first_expiry = -math.inf
        latest = max(time or now for time in self._execute(_FIND_LATEST_TIMES).fetchone())
        if latest <= now + _CLOCK_TOLERANCE_SECONDS:
            return 0.0
        # A whole number, so that no time is rounded.
        ahead = float(math.ceil(latest - now))
        self._move_times(-ahead)
        self._execute("DELETE FROM open_windows")
        self._execute(_FILL_INDEX)
        return ahead

    def _move_times(self, seconds: float) -> None:
        """Move the times of all windows and callbacks. Claims and the index of open windows are the caller's task."""
        windows = self._execute(f"SELECT {WINDOW} FROM messages WHERE url IS NOT NULL").fetchall()
        for window, claimed in map(read_window, windows):
            opened_at, expires_at = window.opened_at + seconds, window.expires_at + seconds
            moved = msgspec.structs.replace(window, opened_at=opened_at, expires_at=expires_at)
            checksum = window_checksum(moved, claimed=claimed)
            self._execute(_MOVE_WINDOW, (opened_at, expires_at, checksum, window.message_id))
        callbacks = self._execute(f"SELECT {CALLBACK} FROM messages WHERE message IS NOT NULL").fetchall()
        for callback in map(read_callback, callbacks):
            received_at = callback.received_at + seconds
            checksum = callback_checksum(msgspec.structs.replace(callback, received_at=received_at))
            self._execute(_MOVE_CALLBACK, (received_at, checksum, callback.message_id))

    def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        """Admit messages and return for each whether it is new."""
        self._now = now
        self._additions += len(batch)
        return [self._admit(admission, now) for admission in batch]

    def _admit(self, admission: Admission, now: float) -> bool:
        callback, window = admission.callback, admission.window
        until = max(now + CLAIM_SECONDS, window.expires_at if window else now)
        row = new_row(callback.message_id, until, window, callback)
        if not self._execute(INSERT, row).rowcount:
            found = self._execute(_FIND_CLAIM, (callback.message_id,)).fetchone()
            if not found:
                raise DamagedFile
            number, claimed_until, in_progress = found
            if claimed_until > now or in_progress:
                return False
            self._drop(number, number)
            self._execute(INSERT, row)
        self.open_windows += window is not None
        return True

    def release(self, message_id: str, now: float) -> StoredCallback | bool:
        """Return the callback of a message in progress, or whether it needs none because it is or was finished.

        The result is False if a reply holds its window.
        """
        self._now = now
        found = self._execute(_FIND_IN_PROGRESS, (message_id,)).fetchone()
        if not found:
            return True
        claimed, *callback = found
        if claimed:
            return False
        if callback[2] is None:
            self.finish(message_id, now)
            return True
        return read_callback(callback)

    def finish(self, message_id: str, now: float) -> None:
        """End a message: remove its callback and keep its claim."""
        self._now = now
        self._additions += 1
        self._execute(_FINISH, (message_id,))

    def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, spare_of: str | None
    ) -> ReplyWindow | None:
        """Claim the window of a message, or the newest open one of the first chat that has one."""
        self._now = now
        row = self._find_window(chats, reply_to, now, spare_of)
        if row is None:
            return None
        window, _ = read_window(row)
        if window.chat not in chats or window.expires_at <= now:
            return None
        self.open_windows -= self._mark(window, claimed=True)
        return window

    def _find_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, spare_of: str | None
    ) -> tuple[object, ...] | None:
        if reply_to is not None:
            row: tuple[object, ...] | None = self._execute(_FIND_WINDOW, (reply_to,)).fetchone()
            return row
        for chat in chats:
            if spare_of is None:
                row = self._execute(_FIND_NEWEST, (chat, now)).fetchone()
            else:
                row = self._execute(_FIND_SPARE, (chat, now, spare_of)).fetchone()
            if row is not None:
                return row
        return None

    def spend_window(self, window: ReplyWindow, now: float) -> None:
        """Record that a reply was, or may have been, sent through a claimed window."""
        self._now = now
        self._execute(_SPEND_WINDOW, (window.message_id, window.opened_at))

    def restore_window(self, window: ReplyWindow, now: float) -> None:
        """Open a claimed window again."""
        self._now = now
        restored = self._mark(window, claimed=False)
        self.open_windows += restored
        if not restored and window.expires_at <= now:
            self.expired_windows += 1

    def probe(self) -> None:
        """Write a value that is already there, so that the commit shows whether the file can be written."""
        self._execute(f"PRAGMA user_version = {VERSION}")

    def expire(self) -> None:
        """Remove a few messages whose claims have expired, more than this transaction can have added."""
        limit = _EXPIRIES_PER_BATCH + self._additions * _EXPIRIES_PER_ADDITION
        self._additions = 0
        if self._now < self._first_expiry:
            return
        first = self._execute("SELECT number, until FROM messages ORDER BY number LIMIT ?", (limit,)).fetchall()
        expired = list(itertools.takewhile(lambda claim: claim[1] <= self._now, first))
        if expired:
            self._drop(expired[0][0], expired[-1][0])
        if len(expired) < len(first):
            self._first_expiry = first[len(expired)][1]
        elif len(first) < limit:
            self._first_expiry = self._now + CLAIM_SECONDS

    def after_rollback(self, open_windows: int, expired_windows: int) -> None:
        """Reset the values held in memory after a transaction was rolled back."""
        self.open_windows = open_windows
        self.expired_windows = expired_windows
        self._first_expiry = -math.inf
        self._additions = 0

    def _drop(self, first: int, last: int) -> None:
        """Remove a range of messages. Those in progress lose only their window, and their claims are extended."""
        numbers = (first, last)
        rows = self._execute(
            "SELECT number, claimed, received_at IS NOT NULL FROM messages WHERE number BETWEEN ? AND ?", numbers
        ).fetchall()
        for number, claimed, in_progress in rows:
            self.open_windows -= claimed == 0
            self.expired_windows += claimed == 0
            if in_progress:
                self._execute(_EXTEND_CLAIM, (self._now + CLAIM_SECONDS, number))
        self._execute("DELETE FROM messages WHERE number BETWEEN ? AND ?", numbers)

    def _mark(self, window: ReplyWindow, *, claimed: bool) -> int:
        checksum = window_checksum(window, claimed=claimed)
        row = (window.repeated, claimed, checksum, window.message_id, window.opened_at, not claimed)
        return self._execute(_MARK_WINDOW, row).rowcount
