"""The entries in the state file and what is done to them, one plain call each inside a transaction of the writer."""

# ruff: noqa: S608 - statements are put together from constants of this file alone

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.state.port import CLAIM_SECONDS
from maven_channel_wecom.state.sqlite.failures import Damage
from maven_channel_wecom.state.sqlite.rows import callback_checksum, read_callback, read_window, window_checksum
from maven_channel_wecom.state.sqlite.schema import INDEX, STEPS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.port import KeptCallback

# Each operation adds at most one message, so this keeps up, and works off what a pause left behind.
_EXPIRIES_PER_OPERATION: Final = 3
_EXPIRIES_PER_BATCH: Final = 20

# By its number in `messages`, found by its message id; both are compared, so that a damaged claim leads nowhere else.
_THIS: Final = "(number, message_id) = (SELECT number, message_id FROM claims WHERE message_id = ?)"
_WINDOW: Final = "message_id, chat_id, sender_id, url, opened_at, expires_at, repeated, claimed, window_checksum"
_NO_WINDOW: Final = ", ".join(f"{column} = NULL" for column in _WINDOW.split(", ")[2:])
_CALLBACK: Final = "message_id, chat_id, received_at, message, callback_checksum"

_INSERT_CLAIM: Final = "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)"
_INSERT_MESSAGE: Final = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FIND_CLAIM: Final = """
    SELECT number, until, claimed, received_at IS NOT NULL, message IS NULL
    FROM claims LEFT JOIN messages USING (number) WHERE claims.message_id = ?
"""
_FIND_WINDOW: Final = f"SELECT {_WINDOW} FROM messages WHERE {_THIS} AND claimed = 0"
_FIND_NEWEST: Final = f"""
    SELECT {_WINDOW} FROM messages WHERE number = (
        SELECT number FROM open_windows JOIN messages USING (number)
        WHERE open_windows.chat_id = ? AND expires_at > ? ORDER BY open_windows.opened_at DESC LIMIT 1
    )
"""
_FIND_SPARE: Final = f"""
    SELECT {_WINDOW} FROM messages WHERE number = (
        SELECT number FROM open_windows JOIN messages USING (number)
        WHERE open_windows.chat_id = ? AND expires_at > ? AND sender_id = ? AND received_at IS NULL
        ORDER BY open_windows.opened_at DESC LIMIT 1
    )
"""
_MARK_WINDOW: Final = f"""
    UPDATE messages SET repeated = ?, claimed = ?, window_checksum = ? WHERE {_THIS} AND opened_at = ? AND claimed = ?
"""
_SPEND_WINDOW: Final = f"UPDATE messages SET {_NO_WINDOW}, message = NULL WHERE {_THIS} AND received_at IS NOT NULL"
_FINISH_CALLBACK: Final = f"""
    UPDATE messages SET received_at = NULL, message = NULL, callback_checksum = NULL WHERE {_THIS} AND url IS NOT NULL
"""
_DELETE_MESSAGE: Final = f"DELETE FROM messages WHERE {_THIS}"

_FIND_STRAY: Final = """
    SELECT 1 FROM messages LEFT JOIN claims USING (number) WHERE claims.message_id IS NOT messages.message_id
"""
_FINISH_ANSWERED: Final = """
    UPDATE messages SET received_at = NULL, callback_checksum = NULL WHERE received_at IS NOT NULL AND message IS NULL
"""


class Entries:
    """Claims, windows and callbacks in one open file.

    Windows and callbacks carry a checksum, since SQLite has none for its pages: a damaged URL or text raises Damage and
    is never given out. A damaged claim is only one that matches no message.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._now = 0.0
        self._next_number = 1
        # Nothing is over before.
        self._first_end = -math.inf
        self.open_windows = 0
        self.expired_windows = 0

    def take_over(self) -> list[KeptCallback]:
        """Take over what earlier processes left, oldest first; see StateStore.unfinished."""
        if self._execute(_FIND_STRAY).fetchone():
            raise Damage
        self._execute(_FINISH_ANSWERED)
        self._execute("DELETE FROM messages WHERE url IS NULL AND received_at IS NULL")
        for statement in INDEX:
            self._execute(statement)
        ((last,),) = self._execute("SELECT max(number) FROM claims")
        self._next_number = (last or 0) + 1
        in_flight = []
        for *row, in_hand in self._execute(
            f"SELECT {_WINDOW}, received_at IS NOT NULL FROM messages WHERE url NOT NULL"
        ):
            window, claimed = read_window(row)
            if not claimed:
                self.open_windows += 1
            elif in_hand:
                in_flight.append(window)
        for window in in_flight:
            # Its process died while answering through it.
            self.open_windows += self._mark(msgspec.structs.replace(window, repeated=True), claimed=False)
        rows = self._execute(f"SELECT {_CALLBACK} FROM messages WHERE received_at NOT NULL ORDER BY received_at")
        return [read_callback(row) for row in rows.fetchall()]

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        """See StateStore."""
        self._now = now
        message_id = callback.message_id
        claim = (self._number(), message_id, max(now + CLAIM_SECONDS, window.expires_at if window else now))
        if not self._execute(_INSERT_CLAIM, claim).rowcount:
            number, until, _, in_hand, _ = self._execute(_FIND_CLAIM, (message_id,)).fetchone()
            if until > now or in_hand:
                return False
            self._drop(number, number)
            self._execute(_INSERT_CLAIM, claim)
        opened: tuple[object, ...] = (None,) * 7
        if window:
            opened = (*msgspec.structs.astuple(window)[2:], False, window_checksum(window, claimed=False))
            self.open_windows += 1
        received = (callback.received_at, callback.message, callback_checksum(callback))
        self._execute(_INSERT_MESSAGE, (claim[0], message_id, callback.chat_id, *opened, *received))
        return True

    def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._now = now
        found = self._execute(_FIND_CLAIM, (message_id,)).fetchone()
        if not found:
            return
        number, _, claimed, in_hand, answered = found
        if claimed or (in_hand and answered):
            self.finish(message_id, now)
            return
        self._execute(_DELETE_MESSAGE, (message_id,))
        self._execute("DELETE FROM claims WHERE number = ?", (number,))
        self.open_windows -= claimed == 0

    def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._now = now
        if not self._execute(_FINISH_CALLBACK, (message_id,)).rowcount:
            self._execute(_DELETE_MESSAGE, (message_id,))

    def claim_window(self, chat_id: str, reply_to: str | None, now: float, spare_of: str | None) -> ReplyWindow | None:
        """See StateStore."""
        self._now = now
        if reply_to is not None:
            found = self._execute(_FIND_WINDOW, (reply_to,))
        elif spare_of is not None:
            found = self._execute(_FIND_SPARE, (chat_id, now, spare_of))
        else:
            found = self._execute(_FIND_NEWEST, (chat_id, now))
        row = found.fetchone()
        if row is None:
            return None
        window, _ = read_window(row)
        if window.chat_id != chat_id or window.expires_at <= now:
            return None
        self.open_windows -= self._mark(window, claimed=True)
        return window

    def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._now = now
        if not self._execute(_SPEND_WINDOW, (window.message_id,)).rowcount:
            self._execute(_DELETE_MESSAGE, (window.message_id,))

    def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._now = now
        restored = self._mark(window, claimed=False)
        self.open_windows += restored
        if not restored and window.expires_at <= now:
            self.expired_windows += 1

    def probe(self) -> None:
        """Write something that changes nothing, so that its commit tells whether writing works."""
        self._execute(f"PRAGMA user_version = {len(STEPS)}")

    def expire(self, operations: int) -> None:
        """Drop a few messages that are over, some more than so many operations can have added."""
        if self._now < self._first_end:
            return
        limit = _EXPIRIES_PER_BATCH + operations * _EXPIRIES_PER_OPERATION
        first = self._execute("SELECT number, until FROM claims ORDER BY number LIMIT ?", (limit,)).fetchall()
        over = list(itertools.takewhile(lambda claim: claim[1] <= self._now, first))
        if over:
            self._drop(over[0][0], over[-1][0])
        if len(over) < len(first):
            self._first_end = first[len(over)][1]
        elif len(first) < limit:
            self._first_end = self._now + CLAIM_SECONDS

    def rolled_back(self, open_windows: int, expired_windows: int) -> None:
        """Tell how many windows there are after all."""
        self.open_windows = open_windows
        self.expired_windows = expired_windows
        self._first_end = -math.inf

    def _drop(self, first: int, last: int) -> None:
        """Drop messages that are over, from one number to another. Those in hand stay, claimed anew."""
        numbers = (first, last)
        rows = self._execute(
            "SELECT number, claimed, received_at IS NOT NULL FROM messages WHERE number BETWEEN ? AND ?", numbers
        ).fetchall()
        for number, claimed, in_hand in rows:
            self.open_windows -= claimed == 0
            self.expired_windows += claimed == 0
            if in_hand:
                renewed = self._number()
                self._execute(f"UPDATE messages SET {_NO_WINDOW}, number = ? WHERE number = ?", (renewed, number))
                claim = (renewed, self._now + CLAIM_SECONDS, number)
                self._execute("UPDATE claims SET number = ?, until = ? WHERE number = ?", claim)
        self._execute("DELETE FROM messages WHERE number BETWEEN ? AND ?", numbers)
        self._execute("DELETE FROM claims WHERE number BETWEEN ? AND ?", numbers)

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _mark(self, window: ReplyWindow, *, claimed: bool) -> int:
        checksum = window_checksum(window, claimed=claimed)
        row = (window.repeated, claimed, checksum, window.message_id, window.opened_at, not claimed)
        return self._execute(_MARK_WINDOW, row).rowcount
