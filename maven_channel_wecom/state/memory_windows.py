"""The open windows of each chat in memory, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.state.memory_entries import SHARD_MASK, Entry, Message, Table, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.policy.reply_window import ReplyWindow


class ChatWindows:
    """The messages of each chat that have an open window, hanging together, so that taking one out leaves no hole.

    They go by their ids and not by reference, so that none keeps others alive. What is over need not be taken out: a
    link holds only if it is returned, and windows live equally long, so what is behind one that is over is over too.

    Args:
        entries: what is kept of each message.
    """

    def __init__(self, entries: Table[Entry]) -> None:
        self._entries = entries
        self._newest: Table[str] = Table()

    def windows(self, chat_id: str) -> Iterator[ReplyWindow]:
        """Return the windows of a chat, newest first."""
        message_id, newer_id = self._newest.shard(chat_id).get(chat_id), None
        while message_id is not None:
            message = self._message(message_id)
            if message is None or message.window is None or message.newer != newer_id:
                return
            yield unpacked(message_id, message.window)
            message_id, newer_id = message.older, message_id

    def put_in_front(self, message_id: str, chat_id: str, message: Message) -> None:
        """Put in the newest message of a chat."""
        newest = self._newest.shards[hash(chat_id) & SHARD_MASK]
        older_id = newest.get(chat_id)
        newest[chat_id] = message_id
        if older_id is not None and (older := self._message(older_id)) is not None:
            older.newer = message_id
            message.older = older_id

    def put_in_place(self, window: ReplyWindow, message: Message) -> None:
        """Put in a message where its window belongs, which may be behind newer ones."""
        message_id, newer_id = window.message_id, None
        for other in self.windows(window.chat_id):
            if other.opened_at <= window.opened_at:
                break
            newer_id = other.message_id
        newer = self._message(newer_id)
        if newer is None:
            self.put_in_front(message_id, window.chat_id, message)
            return
        older = self._message(newer.older)
        if older is not None and older.newer == newer_id:
            older.newer = message_id
        message.older, message.newer = newer.older, newer_id
        newer.older = message_id

    def take_out(self, message_id: str, chat_id: str, message: Message) -> None:
        """Take out a message."""
        older_id, newer_id = message.older, message.newer
        older, newer = self._message(older_id), self._message(newer_id)
        message.older = message.newer = None
        if older is not None and older.newer == message_id:
            older.newer = newer_id
        else:
            older_id = None
        if newer is not None and newer.older == message_id:
            newer.older = older_id
        newest = self._newest.shard(chat_id)
        if newest.get(chat_id) == message_id:
            if older_id is None:
                del newest[chat_id]
            else:
                newest[chat_id] = older_id

    def forget(self, message_id: str, chat_id: str) -> None:
        """Do the same, for less, with a message whose window is over."""
        newest = self._newest.shard(chat_id)
        if newest.get(chat_id) == message_id:
            del newest[chat_id]

    def _message(self, message_id: str | None) -> Message | None:
        if message_id is None:
            return None
        entry = self._entries.shards[hash(message_id) & SHARD_MASK].get(message_id)
        return entry if isinstance(entry, Message) else None
