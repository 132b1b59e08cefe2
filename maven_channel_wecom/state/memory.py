"""State in this process's memory: fast, small, bounded, and gone with the process."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.memory_entries import SHARD_MASK, Entry, Generation, Message, Table, packed
from maven_channel_wecom.state.memory_windows import ChatWindows
from maven_channel_wecom.state.port import CLAIM_SECONDS

if TYPE_CHECKING:
    from maven_channel_wecom.state.port import KeptCallback

MAX_ENTRIES: Final = 1_000_000
"""Claims and windows together: an hour of 250 messages a second, all answered. Past it callbacks get 503."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""What all entries together may hold, by the lengths of their texts and a flat overhead for each."""

_CLAIM_OVERHEAD_BYTES: Final = 170
_WINDOW_OVERHEAD_BYTES: Final = 230

# As many as a dict holds before it takes twice the room.
_GENERATION_MESSAGES: Final = 85
_GENERATION_SECONDS: Final = 1.0

# Each call drops at most this many expired messages: faster than one call can add them, and never a pause.
_DROPS_PER_CALL: Final = 8

_FULL: Final = "the state in memory is full"


class MemoryStateStore:
    """A StateStore in memory.

    Claims end by generations, so that none needs a time of its own. A generation that is over is dropped message by
    message. No dict grows large, and few objects are tracked by the garbage collector: no call pauses.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: Table[Entry] = Table()
        self._chats = ChatWindows()
        self._claims = 0
        self._open_windows = 0
        self._size_bytes = 0
        self._expired_windows = 0
        # Messages in hand: their entries, or what these were when their claims ended.
        self._in_hand: dict[str, Entry] = {}
        # By age, and never none: the last one is the one to join.
        self._generations = deque([Generation(-math.inf, -math.inf, {})])
        # Nothing is over before.
        self._first_end = -math.inf

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        """See StateStore. It never takes waiting."""
        if now >= self._first_end:
            self._expire(now)
        message_id = callback.message_id
        entries = self._entries.shards[hash(message_id) & SHARD_MASK]
        if (message_id in entries or message_id in self._in_hand) and not self._is_over(message_id, now):
            return False
        size_bytes = _claim_bytes(message_id)
        if window is not None:
            size_bytes += _window_bytes(window)
        if self._claims + self._open_windows >= self._max_entries or self._size_bytes + size_bytes > self._max_bytes:
            raise StateUnavailable(_FULL, reason="state_full")
        generation = self._generations[-1]
        if now >= generation.began + _GENERATION_SECONDS or len(generation.message_ids) >= _GENERATION_MESSAGES:
            generation = self._begin_generation(now)
        generation.message_ids[message_id] = None
        generation.until = now + CLAIM_SECONDS
        entry: Entry = generation
        if window is not None:
            entry = Message(message_id, generation, window)
            self._chats.put_in_front(window.chat_id, entry)
            self._open_windows += 1
        entries[message_id] = self._in_hand[message_id] = entry
        self._claims += 1
        self._size_bytes += size_bytes
        return True

    async def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        if now >= self._first_end:
            self._expire(now)
        entry = self._in_hand.pop(message_id, None)
        if isinstance(entry, Message):
            window = entry.open_window()
            if window is None:
                self._shrink(entry)
                return
            self._close(window, entry)
        if entry and self._entries.shard(message_id).pop(message_id, None):
            self._claims -= 1
            self._size_bytes -= _claim_bytes(message_id)

    async def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        if now >= self._first_end:
            self._expire(now)
        entry = self._in_hand.pop(message_id, None)
        if isinstance(entry, Message):
            window = entry.window
            if isinstance(window, ReplyWindow):
                entry.window = packed(window)
            elif window is None:
                self._shrink(entry)

    async def unfinished(self, now: float, *, most: int = 1_000) -> list[KeptCallback]:  # noqa: ARG002 - there is none
        """See StateStore."""
        self._expire(now)
        return []

    async def claim_window(
        self, chat_id: str, reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """See StateStore."""
        if now >= self._first_end:
            self._expire(now)
        message_id = self._newest(chat_id, now, spare_of) if reply_to is None else reply_to
        message = self._entries.shard(message_id).get(message_id) if message_id else None
        if not isinstance(message, Message):
            return None
        window = message.open_window()
        if window is None or window.chat_id != chat_id or window.expires_at <= now:
            return None
        self._close(window, message)
        if message_id not in self._in_hand:
            self._shrink(message)
        return window

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore. It was taken out when it was claimed."""

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        if window.expires_at <= now:
            self._expired_windows += 1
            return
        message_id = window.message_id
        entries = self._entries.shard(message_id)
        message = entries.get(message_id)
        if isinstance(message, Generation):
            message = entries[message_id] = Message(message_id, message, None)
        if message is not None and message.window is None:
            message.window = window if message_id in self._in_hand else packed(window)
            self._chats.put_in_place(window, message)
            self._open_windows += 1
            self._size_bytes += _window_bytes(window)

    @property
    def open_windows(self) -> int:
        """See StateStore."""
        return self._open_windows

    @property
    def expired_windows(self) -> int:
        """See StateStore."""
        return self._expired_windows

    async def health(self) -> str | None:
        """See StateStore."""
        return _FULL if self._claims + self._open_windows >= self._max_entries else None

    async def close(self) -> None:
        """See StateStore."""
        self._chats.clear()

    def _is_over(self, message_id: str, now: float) -> bool:
        """Tell whether a known message is not recognized any more; what is left of it is dropped then."""
        if message_id in self._in_hand:
            return False
        entry = self._entries.shard(message_id)[message_id]
        generation = entry.generation if isinstance(entry, Message) else entry
        if generation.until > now:
            return False
        self._drop(message_id, generation)
        return True

    def _begin_generation(self, now: float) -> Generation:
        generation = Generation(now, now + CLAIM_SECONDS, {})
        self._generations.append(generation)
        return generation

    def _expire(self, now: float) -> None:
        oldest = self._generations[0]
        self._first_end = oldest.until
        if oldest.until > now:
            return
        message_ids = oldest.message_ids
        for _ in range(min(len(message_ids), _DROPS_PER_CALL)):
            message_id, _ = message_ids.popitem()
            self._drop(message_id, oldest)
        if not message_ids and len(self._generations) > 1:
            self._generations.popleft()

    def _drop(self, message_id: str, generation: Generation) -> None:
        """Drop a message that is over; not if it was claimed anew, in a younger generation and with another window."""
        entries = self._entries.shards[hash(message_id) & SHARD_MASK]
        entry = entries.get(message_id)
        if isinstance(entry, Message) and entry.generation is generation:
            # Somebody may still have the message in hand: for them too it is closed.
            if (window := entry.open_window()) is not None:
                self._close(window, entry)
                self._expired_windows += 1
        elif entry is not generation:
            return
        del entries[message_id]
        self._claims -= 1
        self._size_bytes -= _claim_bytes(message_id)

    def _close(self, window: ReplyWindow, message: Message) -> None:
        self._chats.take_out(window.chat_id, message)
        message.window = None
        self._open_windows -= 1
        self._size_bytes -= _window_bytes(window)

    def _shrink(self, message: Message) -> None:
        """Keep only the claim of a message that is not in hand and has no open window."""
        entries = self._entries.shard(message.message_id)
        if entries.get(message.message_id) is message:
            entries[message.message_id] = message.generation

    def _newest(self, chat_id: str, now: float, spare_of: str | None) -> str:
        """Return the message of the newest window of a chat that can be claimed, or nothing."""
        for window in self._chats.windows(chat_id):
            if window.expires_at <= now:
                break
            if spare_of is None or (window.sender_id == spare_of and window.message_id not in self._in_hand):
                return window.message_id
        return ""


def _claim_bytes(message_id: str) -> int:
    return _CLAIM_OVERHEAD_BYTES + len(message_id)


def _window_bytes(window: ReplyWindow) -> int:
    return _WINDOW_OVERHEAD_BYTES + len(window.url) + len(window.chat_id) + len(window.sender_id)
