"""What is done to the messages in the state file: one plain call each, inside a transaction of the writer."""

# ruff: noqa: S608 - statements are put together from constants alone

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
    Damage,
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
"""How many expired messages a commit drops, beside three for each that it may have added. Lower: those that a pause in
the traffic left are dropped later. Higher: a longer commit."""
_EXPIRIES_PER_ADDITION: Final = 3

# The index leads to the number; the row there is compared too, so that a damaged index leads to no other message.
_THIS: Final = "(number, message_id) = (SELECT number, message_id FROM messages WHERE message_id = ?)"
_NO_WINDOW: Final = ", ".join(f"{column} = NULL" for column in WINDOW.split(", ")[1:])

_FIND_CLAIM: Final = f"SELECT number, until, received_at IS NOT NULL FROM messages WHERE {_THIS}"
_FIND_PROGRESS: Final = f"SELECT claimed, message IS NULL FROM messages WHERE {_THIS} AND received_at IS NOT NULL"
_FIND_WINDOW: Final = f"SELECT {WINDOW} FROM messages WHERE {_THIS} AND claimed = 0"
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
    UPDATE messages SET repeated = ?, claimed = ?, window_checksum = ? WHERE {_THIS} AND opened_at = ? AND claimed = ?
"""
_SPEND_WINDOW: Final = f"""
    UPDATE messages SET {_NO_WINDOW}, message = NULL, callback_checksum = NULL
    WHERE {_THIS} AND (opened_at = ? OR opened_at IS NULL)
"""
_FINISH: Final = f"""
    UPDATE messages SET received_at = NULL, message = NULL, callback_checksum = NULL
    WHERE {_THIS} AND received_at IS NOT NULL
"""
_FINISH_ANSWERED: Final = "UPDATE messages SET received_at = NULL WHERE received_at IS NOT NULL AND message IS NULL"
_RENEW: Final = f"""
    UPDATE messages SET {_NO_WINDOW}, until = ?, number = (SELECT max(number) FROM messages) + 1 WHERE number = ?
"""

# The open windows of each chat. It is temporary, and so in memory: an index in the file would be written with every
# message, and can be made again from `messages` when the file is opened.
_MAKE_INDEX: Final = (
    """CREATE TEMP TABLE open_windows (
            chat, opened_at, number, PRIMARY KEY (chat, opened_at, number)
        ) WITHOUT ROWID""",
    "INSERT INTO open_windows SELECT chat, opened_at, number FROM messages WHERE claimed = 0",
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
    """Claims, windows and callbacks in one open file.

    A window or callback that is not what was written raises Damage and is never returned. A damaged claim is one that
    matches no message.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._now = 0.0
        # Nothing expires earlier.
        self._first_end = -math.inf
        self._additions = 0
        self.open_windows = 0
        self.expired_windows = 0

    def take_over(self) -> list[StoredCallback]:
        """Make what earlier processes left ours, and return what they left unfinished, oldest first."""
        self._execute(_FINISH_ANSWERED)
        for statement in _MAKE_INDEX:
            self._execute(statement)
        in_flight = []
        for *row, in_progress in self._execute(
            f"SELECT {WINDOW}, received_at IS NOT NULL FROM messages WHERE url IS NOT NULL"
        ):
            window, claimed = read_window(row)
            if not claimed:
                self.open_windows += 1
            elif in_progress:
                in_flight.append(window)
        for window in in_flight:
            # Its process died while answering through it.
            self.open_windows += self._mark(msgspec.structs.replace(window, repeated=True), claimed=False)
        rows = self._execute(f"SELECT {CALLBACK} FROM messages WHERE received_at IS NOT NULL ORDER BY received_at")
        return [read_callback(row) for row in rows]

    def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        """Admit a batch; see StateStore."""
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
                raise Damage
            number, claimed_until, in_progress = found
            if claimed_until > now or in_progress:
                return False
            self._drop(number, number)
            self._execute(INSERT, row)
        self.open_windows += window is not None
        return True

    def release(self, message_id: str, now: float) -> None:
        """Release a message; see StateStore."""
        self._now = now
        found = self._execute(_FIND_PROGRESS, (message_id,)).fetchone()
        if not found:
            return
        claimed, answered = found
        if claimed or answered:
            self.finish(message_id, now)
            return
        self._execute(f"DELETE FROM messages WHERE {_THIS}", (message_id,))
        self.open_windows -= claimed == 0

    def finish(self, message_id: str, now: float) -> None:
        """Finish a message; see StateStore."""
        self._now = now
        self._additions += 1
        self._execute(_FINISH, (message_id,))

    def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, spare_of: str | None
    ) -> ReplyWindow | None:
        """Claim a window; see StateStore."""
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
        """Spend a claimed window; see StateStore."""
        self._now = now
        self._execute(_SPEND_WINDOW, (window.message_id, window.opened_at))

    def restore_window(self, window: ReplyWindow, now: float) -> None:
        """Open a claimed window again; see StateStore."""
        self._now = now
        restored = self._mark(window, claimed=False)
        self.open_windows += restored
        if not restored and window.expires_at <= now:
            self.expired_windows += 1

    def probe(self) -> None:
        """Write something that changes nothing, so that its commit tells whether writing works."""
        self._execute(f"PRAGMA user_version = {VERSION}")

    def expire(self) -> None:
        """Drop a few messages whose claims are over, more of them than this transaction can have added."""
        limit = _EXPIRIES_PER_BATCH + self._additions * _EXPIRIES_PER_ADDITION
        self._additions = 0
        if self._now < self._first_end:
            return
        first = self._execute("SELECT number, until FROM messages ORDER BY number LIMIT ?", (limit,)).fetchall()
        over = list(itertools.takewhile(lambda claim: claim[1] <= self._now, first))
        if over:
            self._drop(over[0][0], over[-1][0])
        if len(over) < len(first):
            self._first_end = first[len(over)][1]
        elif len(first) < limit:
            self._first_end = self._now + CLAIM_SECONDS

    def rolled_back(self, open_windows: int, expired_windows: int) -> None:
        """Correct what is known beside the file after a transaction that was rolled back."""
        self.open_windows = open_windows
        self.expired_windows = expired_windows
        self._first_end = -math.inf
        self._additions = 0

    def _drop(self, first: int, last: int) -> None:
        """Forget the messages from one number to another. Those in progress lose their window and are claimed anew."""
        numbers = (first, last)
        rows = self._execute(
            "SELECT number, claimed, received_at IS NOT NULL FROM messages WHERE number BETWEEN ? AND ?", numbers
        ).fetchall()
        for number, claimed, in_progress in rows:
            self.open_windows -= claimed == 0
            self.expired_windows += claimed == 0
            if in_progress:
                self._execute(_RENEW, (self._now + CLAIM_SECONDS, number))
        self._execute("DELETE FROM messages WHERE number BETWEEN ? AND ?", numbers)

    def _mark(self, window: ReplyWindow, *, claimed: bool) -> int:
        checksum = window_checksum(window, claimed=claimed)
        row = (window.repeated, claimed, checksum, window.message_id, window.opened_at, not claimed)
        return self._execute(_MARK_WINDOW, row).rowcount
