"""The versions of the state file's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maven_channel_wecom.state.sqlite.file import Step

_FIRST: Final = (
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
)

# A commit writes every page it changed, and a table by message id changes one for each message. So messages have
# numbers in the order they were admitted: what comes together, and ends together, lies together.
_NUMBERED: Final = (
    "ALTER TABLE claims RENAME TO old_claims",
    # Every message known. `until` is when its claim and its window are over.
    "CREATE TABLE claims (number INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, until REAL NOT NULL)",
    # What is left to do for a message: a window that is open or claimed, of which `url` is the sign, and a callback in
    # hand, of which `received_at` is. A callback in hand whose message is NULL was answered.
    """CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            message_id TEXT NOT NULL,
            chat_id TEXT NOT NULL,
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
        )""",
    """INSERT INTO claims (message_id, until)
        SELECT message_id, max(until) FROM (
            SELECT message_id, expires_at AS until FROM old_claims
            UNION ALL SELECT message_id, expires_at FROM windows
            UNION ALL SELECT message_id, received_at FROM callbacks
        ) GROUP BY message_id ORDER BY 2""",
    """INSERT INTO messages
        SELECT number, claims.message_id, coalesce(callbacks.chat_id, windows.chat_id), sender_id, url, opened_at,
            expires_at, repeated, claimed, windows.checksum, received_at, message, callbacks.checksum
        FROM claims LEFT JOIN windows USING (message_id) LEFT JOIN callbacks USING (message_id)
        WHERE windows.message_id IS NOT NULL OR callbacks.message_id IS NOT NULL""",
    "DROP TABLE callbacks",
    "DROP TABLE windows",
    "DROP TABLE old_claims",
)

INDEX: Final = (
    # Like an index of the open windows by chat, but one that is not written to the disk with every message: nobody else
    # opens the file, and what is kept in it can be found again from `messages`.
    """CREATE TEMP TABLE open_windows (
            chat_id, opened_at, number, PRIMARY KEY (chat_id, opened_at, number)
        ) WITHOUT ROWID""",
    "INSERT INTO open_windows SELECT chat_id, opened_at, number FROM messages WHERE claimed = 0",
    """CREATE TEMP TRIGGER opened AFTER INSERT ON messages WHEN new.claimed = 0 BEGIN
        INSERT INTO open_windows VALUES (new.chat_id, new.opened_at, new.number);
    END""",
    """CREATE TEMP TRIGGER reopened AFTER UPDATE OF claimed ON messages WHEN new.claimed = 0 BEGIN
        INSERT INTO open_windows VALUES (new.chat_id, new.opened_at, new.number);
    END""",
    """CREATE TEMP TRIGGER closed AFTER UPDATE OF claimed ON messages WHEN old.claimed = 0 BEGIN
        DELETE FROM open_windows WHERE (chat_id, opened_at, number) = (old.chat_id, old.opened_at, old.number);
    END""",
    """CREATE TEMP TRIGGER dropped AFTER DELETE ON messages WHEN old.claimed = 0 BEGIN
        DELETE FROM open_windows WHERE (chat_id, opened_at, number) = (old.chat_id, old.opened_at, old.number);
    END""",
)
"""What is made anew in memory whenever the file is opened."""

STEPS: Final[tuple[Step, ...]] = (_FIRST, _NUMBERED)
"""What brings each version to the next. What was released stays as it is; a change is one more step."""
