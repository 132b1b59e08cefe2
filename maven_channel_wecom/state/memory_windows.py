"""The open windows of each chat in memory, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.state.memory_entries import SHARD_MASK, Message, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.policy.reply_window import ReplyWindow


class ChatWindows:
    """The messages of each chat that have an open window, hanging together, so that taking one out leaves no hole.

    They hold each other, and the garbage collector does not look at them: each must be taken out, whichever way its
    window ends.
    """

    def __init__(self) -> None:
        self._newest: Table[Message] = Table()

    def windows(self, chat_id: str) -> Iterator[ReplyWindow]:
        """Return the windows of a chat, newest first."""
        message = self._newest.shard(chat_id).get(chat_id)
        while message is not None and (window := message.open_window()) is not None:
            yield window
            message = message.older

    def put_in_front(self, chat_id: str, message: Message) -> None:
        """Put in the newest message of a chat."""
        newest = self._newest.shards[hash(chat_id) & SHARD_MASK]
        older = newest.get(chat_id)
        newest[chat_id] = message
        if older is not None:
            older.newer = message
            message.older = older

    def put_in_place(self, window: ReplyWindow, message: Message) -> None:
        """Put in a message where its window belongs, which may be behind newer ones."""
        newer, older = None, self._newest.shard(window.chat_id).get(window.chat_id)
        while older is not None and (other := older.open_window()) is not None and other.opened_at > window.opened_at:
            newer, older = older, older.older
        if newer is None:
            self.put_in_front(window.chat_id, message)
            return
        message.older, message.newer = older, newer
        newer.older = message
        if older is not None:
            older.newer = message

    def take_out(self, chat_id: str, message: Message) -> None:
        """Take out a message."""
        older, newer = message.older, message.newer
        message.older = message.newer = None
        if older is not None:
            older.newer = newer
        if newer is not None:
            newer.older = older
        elif older is not None:
            self._newest.shard(chat_id)[chat_id] = older
        else:
            del self._newest.shard(chat_id)[chat_id]

    def clear(self) -> None:
        """Take out all of them and close their windows."""
        for newest in self._newest.shards:
            while newest:
                message: Message | None = newest.popitem()[1]
                while message is not None:
                    older, message.window, message.older, message.newer = message.older, None, None, None
                    message = older
