"""State in this process's memory: fast, small, bounded, and gone with the process."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state import memory_windows
from maven_channel_wecom.state.memory_windows import OpenWindows, Table
from maven_channel_wecom.state.port import CLAIM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.port import KeptCallback

MAX_ENTRIES: Final = 1_000_000
"""Claims and windows together: an hour of 250 messages a second, all answered. Past it callbacks get 503."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""What all entries together may hold, by their own sizes and a flat overhead for each."""

_CLAIM_OVERHEAD_BYTES: Final = 100

# Dropping one that is full is not felt; a claim outlives its hour by no more than the seconds.
_GENERATION_MESSAGES: Final = 64
_GENERATION_SECONDS: Final = 1.0

# Each call drops at most this many expired messages: faster than one call can add them, and never a pause.
_DROPS_PER_CALL: Final = 8

_FULL: Final = "the state in memory is full"


class _Generation(msgspec.Struct, gc=False):
    """Messages admitted within a second. Their claims end at `until`, when all of them and their windows are over."""

    began: float
    until: float
    message_ids: list[str] | tuple[str, ...]


class MemoryStateStore:
    """A StateStore in memory.

    Claims end by generations, so that none needs a time of its own. A generation that is over is dropped message by
    message. No dict grows large, and few objects are tracked by the garbage collector: no call pauses.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._claims: Table[_Generation] = Table()
        self._claims_count = 0
        self._claims_bytes = 0
        self._generations: deque[_Generation] = deque()
        # What is left of the oldest generation, while it is being dropped.
        self._dropping: Iterator[str] | None = None
        self._windows = OpenWindows()
        self._expired_windows = 0
        # Messages in hand, and whether the window of each was claimed.
        self._in_hand: dict[str, bool] = {}

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        """See StateStore. It never takes waiting."""
        return self._admit(callback.message_id, window, now)

    async def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        self._expire(now)
        if not self._in_hand.pop(message_id, False):
            self._drop_claim(message_id)
            self._windows.close(message_id)

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
        window = self._find_newest(chat_id, now, spare_of) if reply_to is None else self._windows.get(reply_to)
        if window is None or window.chat_id != chat_id or window.expires_at <= now:
            return None
        self._windows.close(window.message_id)
        self._mark(window, claimed=True)
        return window

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._expire(now)
        self._mark(window, claimed=True)

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        self._expire(now)
        self._mark(window, claimed=False)
        if window.expires_at > now:
            self._windows.reopen(window)
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
        return _FULL if self._claims_count + len(self._windows) >= self._max_entries else None

    async def close(self) -> None:
        """See StateStore."""

    def _admit(self, message_id: str, window: ReplyWindow | None, now: float) -> bool:
        self._expire(now)
        claims = self._claims.shard(message_id)
        claim = claims.get(message_id)
        if message_id in self._in_hand or (claim and claim.until > now):
            return False
        encoded = self._windows.encode(window) if window else None
        self._require_room(_claim_bytes(message_id) + (memory_windows.size_bytes(encoded) if encoded else 0))
        if claim:
            self._drop(message_id, claim, now)
        claims[message_id] = self._join(message_id, max(now + CLAIM_SECONDS, window.expires_at if window else now), now)
        self._claims_count += 1
        self._claims_bytes += _claim_bytes(message_id)
        self._in_hand[message_id] = False
        if window and encoded:
            self._windows.open(window, encoded)
        return True

    def _require_room(self, size_bytes: int) -> None:
        if (
            self._claims_count + len(self._windows) >= self._max_entries
            or self._claims_bytes + self._windows.size_bytes + size_bytes > self._max_bytes
        ):
            raise StateUnavailable(_FULL, reason="state_full")

    def _join(self, message_id: str, until: float, now: float) -> _Generation:
        """Put a message into the youngest generation, or into a new one, and return it."""
        if self._generations:
            youngest = self._generations[-1]
            ids = youngest.message_ids
            if isinstance(ids, list) and len(ids) < _GENERATION_MESSAGES and now < youngest.began + _GENERATION_SECONDS:
                ids.append(message_id)
                youngest.until = max(youngest.until, until)
                return youngest
            # The garbage collector tracks a list, and looks at all in it again and again; not so a tuple of texts.
            youngest.message_ids = tuple(ids)
        youngest = _Generation(now, until, [message_id])
        self._generations.append(youngest)
        return youngest

    def _expire(self, now: float) -> None:
        if not self._generations or self._generations[0].until > now:
            return
        oldest = self._generations[0]
        if self._dropping is None:
            self._dropping = iter(oldest.message_ids)
        for _ in range(_DROPS_PER_CALL):
            message_id = next(self._dropping, None)
            if message_id is None:
                self._generations.popleft()
                self._dropping = None
                return
            self._drop(message_id, oldest, now)

    def _drop(self, message_id: str, generation: _Generation, now: float) -> None:
        # It may be claimed anew by now, in a younger generation and with another window.
        if self._claims.shard(message_id).get(message_id) is generation:
            self._drop_claim(message_id)
        self._expired_windows += self._windows.close(message_id, over=now)

    def _drop_claim(self, message_id: str) -> None:
        if self._claims.shard(message_id).pop(message_id, None):
            self._claims_count -= 1
            self._claims_bytes -= _claim_bytes(message_id)

    def _find_newest(self, chat_id: str, now: float, spare_of: str | None) -> ReplyWindow | None:
        for window in self._windows.of_chat(chat_id):
            if window.expires_at > now and (
                spare_of is None or (window.sender_id == spare_of and window.message_id not in self._in_hand)
            ):
                return window
        return None

    def _mark(self, window: ReplyWindow, *, claimed: bool) -> None:
        if window.message_id in self._in_hand:
            self._in_hand[window.message_id] = claimed


def _claim_bytes(message_id: str) -> int:
    return _CLAIM_OVERHEAD_BYTES + len(message_id)
