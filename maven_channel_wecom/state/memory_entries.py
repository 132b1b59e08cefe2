"""What is kept of each message in memory: one small entry in one of many small dicts."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from maven_channel_wecom.policy.reply_window import ReplyWindow

# So many that none is ever large enough for its growth or its end to be felt.
_SHARDS: Final = 1024
SHARD_MASK: Final = _SHARDS - 1

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[str, str | None, str, float, float, bool]).decode

_V = TypeVar("_V")


class Table(Generic[_V]):
    """A dict in many small ones: a key belongs in `shards[hash(key) & SHARD_MASK]`.

    Nothing in them may be tracked by the garbage collector, which then skips them.
    """

    def __init__(self) -> None:
        self.shards: tuple[dict[str, _V], ...] = tuple(_shard() for _ in range(_SHARDS))

    def shard(self, key: str) -> dict[str, _V]:
        """Return the dict that a key belongs in."""
        return self.shards[hash(key) & SHARD_MASK]


def _shard() -> dict[str, _V]:
    """Return an empty dict that keeps the hash of each key, as a dict does that ever had a key which is no text.

    Without, looking for one id reads others, which are in no cache where there are many. It takes 12 bytes for an id.
    """
    shard: dict[Any, _V | None] = {None: None}
    del shard[None]
    return cast("dict[str, _V]", shard)


class Generation(msgspec.Struct, gc=False):
    """Messages admitted within a second. Their claims end at `until`, when all of them and their windows are over.

    The ids are in a dict because the garbage collector looks at each new list or tuple, but at no dict of texts.
    """

    began: float
    until: float
    message_ids: dict[str, None]


class Message(msgspec.Struct, gc=False):
    """A message that has a window, or may get it back. `older` and `newer` are its neighbors in the chat.

    The window is there while it is open: as it came while the message is in hand, packed afterwards.
    """

    message_id: str
    generation: Generation
    window: ReplyWindow | bytes | None
    older: Message | None = None
    newer: Message | None = None

    def open_window(self) -> ReplyWindow | None:
        """Return the window while it is open."""
        window = self.window
        if not isinstance(window, bytes):
            return window
        chat_id, sender_id, url, opened_at, expires_at, repeated = _decode(window)
        return ReplyWindow(self.message_id, chat_id, sender_id or chat_id, url, opened_at, expires_at, repeated)


Entry = Generation | Message
"""What a message has in the table: when nothing but its claim is left, that is its generation alone."""


def packed(window: ReplyWindow) -> bytes:
    """Return all of a window but its message id, in few bytes."""
    chat_id, sender_id = window.chat_id, window.sender_id
    sender = None if sender_id == chat_id else sender_id
    return _encode((chat_id, sender, window.url, window.opened_at, window.expires_at, window.repeated))
