"""The open windows in memory: small, found by message or as the newest of a chat, and closed one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from maven_channel_wecom.policy.reply_window import ReplyWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

OVERHEAD_BYTES: Final = 230
"""What a window takes beside its own texts: its place in two tables, its neighbors, headers and rounding."""

# So many that none is ever large enough for its growth or its end to be felt.
_SHARDS: Final = 1024
_SHARD_MASK: Final = _SHARDS - 1

_encoder: Final = msgspec.msgpack.Encoder()
_decode: Final = msgspec.msgpack.Decoder(tuple[str, str | None, str, float, float, bool]).decode

_V = TypeVar("_V")


class Table(Generic[_V]):
    """A dict in many small ones. Nothing in them may be tracked by the garbage collector, which then skips them."""

    def __init__(self) -> None:
        self._shards: tuple[dict[str, _V], ...] = tuple({} for _ in range(_SHARDS))

    def shard(self, key: str) -> dict[str, _V]:
        """Return the dict that a key belongs in."""
        return self._shards[hash(key) & _SHARD_MASK]


class _Entry(msgspec.Struct, gc=False):
    """A window without its message id, encoded; the message ids of its neighbors among those of its chat."""

    encoded: bytes
    older: str | None
    newer: str | None = None


class OpenWindows:
    """Windows by message. Those of a chat hang together, newest first, so that closing one leaves no hole."""

    def __init__(self) -> None:
        self._entries: Table[_Entry] = Table()
        self._newest: Table[str] = Table()
        self._count = 0
        self._buffer = bytearray()
        self.size_bytes = 0
        """What all of them take, by their own sizes and OVERHEAD_BYTES for each."""

    def __len__(self) -> int:
        return self._count

    def get(self, message_id: str) -> ReplyWindow | None:
        """Return the window of a message."""
        entry = self._entries.shard(message_id).get(message_id)
        return _window(message_id, entry) if entry else None

    def of_chat(self, chat_id: str) -> Iterator[ReplyWindow]:
        """Return the windows of a chat, newest first."""
        message_id = self._newest.shard(chat_id).get(chat_id)
        while message_id is not None:
            entry = self._entries.shard(message_id)[message_id]
            yield _window(message_id, entry)
            message_id = entry.older

    def open(self, window: ReplyWindow, encoded: bytes) -> None:
        """Put in the newest window of its chat, in place of one of its message; `encoded` is what `encode` returned."""
        message_id, chat_id = window.message_id, window.chat_id
        entries = self._entries.shard(message_id)
        if message_id in entries:
            self.close(message_id)
        newest = self._newest.shard(chat_id)
        older = newest.get(chat_id)
        newest[chat_id] = message_id
        if older is not None:
            self._entries.shard(older)[older].newer = message_id
        entries[message_id] = _Entry(encoded, older)
        self._count += 1
        self.size_bytes += size_bytes(encoded)

    def reopen(self, window: ReplyWindow) -> None:
        """Put in a window at its place, which may be behind newer ones."""
        self.close(window.message_id)
        newer = None
        for other in self.of_chat(window.chat_id):
            if other.opened_at <= window.opened_at:
                break
            newer = other.message_id
        if newer is None:
            self.open(window, self.encode(window))
            return
        entry = self._entries.shard(newer)[newer]
        older, entry.older = entry.older, window.message_id
        if older is not None:
            self._entries.shard(older)[older].newer = window.message_id
        self._insert(window.message_id, _Entry(self.encode(window), older, newer))

    def close(self, message_id: str, *, over: float = math.inf) -> bool:
        """Take out the window of a message, if it ends no later than `over`; tell whether it was taken out."""
        entries = self._entries.shard(message_id)
        entry = entries.get(message_id)
        if entry is None:
            return False
        window = _window(message_id, entry)
        if window.expires_at > over:
            return False
        del entries[message_id]
        self._count -= 1
        self.size_bytes -= size_bytes(entry.encoded)
        older, newer = entry.older, entry.newer
        if older is not None:
            self._entries.shard(older)[older].newer = newer
        if newer is not None:
            self._entries.shard(newer)[newer].older = older
            return True
        newest = self._newest.shard(window.chat_id)
        if older is not None:
            newest[window.chat_id] = older
        else:
            del newest[window.chat_id]
        return True

    def encode(self, window: ReplyWindow) -> bytes:
        """Return all of a window but its message id, in few bytes."""
        chat_id, sender_id = window.chat_id, window.sender_id
        fields = (
            chat_id,
            None if sender_id == chat_id else sender_id,
            window.url,
            window.opened_at,
            window.expires_at,
            window.repeated,
        )
        # What the encoder returns by itself keeps some of the room that it took for longer texts.
        _encoder.encode_into(fields, self._buffer)
        return bytes(self._buffer)

    def _insert(self, message_id: str, entry: _Entry) -> None:
        self._entries.shard(message_id)[message_id] = entry
        self._count += 1
        self.size_bytes += size_bytes(entry.encoded)


def size_bytes(encoded: bytes) -> int:
    """Return what a window takes in memory, about."""
    return OVERHEAD_BYTES + len(encoded)


def _window(message_id: str, entry: _Entry) -> ReplyWindow:
    chat_id, sender_id, url, opened_at, expires_at, repeated = _decode(entry.encoded)
    return ReplyWindow(message_id, chat_id, sender_id or chat_id, url, opened_at, expires_at, repeated)
