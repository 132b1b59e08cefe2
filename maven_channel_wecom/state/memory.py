"""State in this process's memory: fast, bounded, and gone with the process."""

from collections import OrderedDict
from typing import Final

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback

MAX_ENTRIES: Final = 1_000_000
"""Claims and windows together: an hour of 250 messages a second, all answered. Past it callbacks get 503."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""What all entries together may hold, by their own sizes and a flat overhead for each."""

_OVERHEAD_BYTES: Final = 200

_FULL: Final = "the state in memory is full"

# Each call drops at most this many expired entries of a kind: faster than one call can add them, and never a pause.
_EXPIRIES_PER_CALL: Final = 4


class MemoryStateStore:
    """A StateStore in memory.

    Claims live equally long, and so do windows: the first one in is the first to expire, and only the front is looked
    at. A plain dict would not do, since finding its front costs a walk over everything deleted before.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._expired_windows = 0
        self._claims: OrderedDict[str, float] = OrderedDict()
        self._windows: OrderedDict[str, ReplyWindow] = OrderedDict()
        self._chats: dict[str, set[str]] = {}
        # Messages in hand, and whether the window of each was claimed.
        self._in_hand: dict[str, bool] = {}

    async def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        """See StateStore."""
        return self._admit(callback, window, now)

    def try_admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float, /) -> bool | None:
        """See StateStore. It never takes waiting."""
        return self._admit(callback, window, now)

    async def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._expire(now)
        if not self._in_hand.pop(message_id, False):
            self._remove_claim(message_id)
            self._remove_window(message_id)

    async def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._expire(now)
        self._in_hand.pop(message_id, None)

    async def unfinished(self, now: float, *, most: int = 1_000) -> list[KeptCallback]:  # noqa: ARG002 - there is none
        """See StateStore."""
        self._expire(now)
        return []

    async def claim_window(
        self, chat_id: str, reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """See StateStore."""
        self._expire(now)
        if reply_to is not None:
            window = self._windows.get(reply_to)
            usable = window is not None and window.chat_id == chat_id and window.expires_at > now
        else:
            candidates = [
                found
                for found in (self._windows[message_id] for message_id in self._chats.get(chat_id, ()))
                if found.expires_at > now
                and (spare_of is None or (found.sender_id == spare_of and found.message_id not in self._in_hand))
            ]
            window = max(candidates, key=lambda found: found.opened_at, default=None)
            usable = window is not None
        if window is None or not usable:
            return None
        self._remove_window(window.message_id)
        if window.message_id in self._in_hand:
            self._in_hand[window.message_id] = True
        return window

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._expire(now)
        if window.message_id in self._in_hand:
            self._in_hand[window.message_id] = True

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        if window.message_id in self._in_hand:
            self._in_hand[window.message_id] = False
        if window.expires_at > now:
            self._insert_window(window)
        else:
            self._expired_windows += 1

    @property
    def open_windows(self) -> int:
        """See StateStore."""
        return len(self._windows)

    @property
    def expired_windows(self) -> int:
        """See StateStore."""
        return self._expired_windows

    async def health(self) -> str | None:
        """See StateStore."""
        return _FULL if len(self._claims) + len(self._windows) >= self._max_entries else None

    async def close(self) -> None:
        """See StateStore."""

    def _admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        self._expire(now)
        message_id = callback.message_id
        if message_id in self._in_hand or self._claims.get(message_id, 0.0) > now:
            return False
        size = _claim_bytes(message_id) + (_window_bytes(window) if window else 0)
        if len(self._claims) + len(self._windows) >= self._max_entries or self._bytes + size > self._max_bytes:
            raise StateUnavailable(_FULL, reason="state_full")
        self._remove_claim(message_id)
        self._claims[message_id] = now + CLAIM_SECONDS
        self._bytes += _claim_bytes(message_id)
        self._in_hand[message_id] = False
        if window:
            self._insert_window(window)
        return True

    def _insert_window(self, window: ReplyWindow) -> None:
        self._remove_window(window.message_id)
        self._windows[window.message_id] = window
        self._chats.setdefault(window.chat_id, set()).add(window.message_id)
        self._bytes += _window_bytes(window)

    def _remove_window(self, message_id: str) -> None:
        window = self._windows.pop(message_id, None)
        if window is None:
            return
        self._bytes -= _window_bytes(window)
        chat = self._chats[window.chat_id]
        chat.discard(message_id)
        if not chat:
            del self._chats[window.chat_id]

    def _remove_claim(self, message_id: str) -> None:
        if self._claims.pop(message_id, None) is not None:
            self._bytes -= _claim_bytes(message_id)

    def _expire(self, now: float) -> None:
        for _ in range(_EXPIRIES_PER_CALL):
            oldest_claim = next(iter(self._claims.items()), None)
            if oldest_claim is None or oldest_claim[1] > now:
                break
            self._remove_claim(oldest_claim[0])
        for _ in range(_EXPIRIES_PER_CALL):
            oldest_window = next(iter(self._windows.values()), None)
            if oldest_window is None or oldest_window.expires_at > now:
                break
            self._remove_window(oldest_window.message_id)
            self._expired_windows += 1


def _claim_bytes(message_id: str) -> int:
    return _OVERHEAD_BYTES + len(message_id)


def _window_bytes(window: ReplyWindow) -> int:
    return _OVERHEAD_BYTES + len(window.message_id) + len(window.chat_id) + len(window.sender_id) + len(window.url)
