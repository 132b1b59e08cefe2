"""The in-memory backend, for trying the channel out: its size is bounded, and its data is lost with the process."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.store import CLAIM_SECONDS, StateStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import Admission, StoredCallback

MAX_CLAIMS: Final = 200_000
"""Maximum number of claims. It is an hour at 55 messages per second, and takes about 150 MB. Lower:
callbacks get 503 earlier. Higher: more memory."""

_EXPIRIES_PER_CALL: Final = 8
"""Number of expired messages that a call may remove, in addition to two for each message it may add. Lower: a backlog
of expired messages is removed more slowly. Higher: calls take longer."""

_FULL: Final = "the state in memory is full"


class _Message(msgspec.Struct):
    """An admitted message.

    Its claim lasts until `until`, and for as long as the message is in progress. `claimed` is True if its window is
    claimed or was spent, and `window` is None if it was spent, has expired or never existed. `callback` is None if the
    message is finished.
    """

    message_id: str
    until: float
    window: ReplyWindow | None
    callback: StoredCallback | None
    claimed: bool = False


class MemoryStateStore(StateStore):
    """A StateStore in memory. Its methods never suspend, so a caller cannot be cancelled inside one."""

    def __init__(self, *, max_claims: int = MAX_CLAIMS) -> None:
        self._max_claims = max_claims
        # Ordered by `until`.
        self._messages: OrderedDict[str, _Message] = OrderedDict()
        # Messages that were released and not taken over since, by message id.
        self._released: dict[str, StoredCallback] = {}
        # By chat: the messages with an open or claimed window, in the order of their admission.
        self._chats: dict[str, dict[str, _Message]] = {}
        self._open_windows = 0
        self._expired_windows = 0

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        self._expire(now, additions=len(batch))
        new: dict[str, Admission] = {}
        results = []
        for admission in batch:
            message_id = admission.callback.message_id
            is_new = message_id not in new and not self._is_claimed(message_id, now)
            if is_new:
                new[message_id] = admission
            results.append(is_new)
        if new and len(self._messages) + len(new) > self._max_claims:
            raise StateUnavailable(_FULL, reason="state_full")
        for message_id, admission in new.items():
            self._add(_Message(message_id, now + CLAIM_SECONDS, admission.window, admission.callback))
        return results

    async def release(self, message_id: str, now: float) -> bool:
        self._expire(now)
        message = self._messages.get(message_id)
        if message is None or message.callback is None:
            return True
        if message.claimed and message.window:
            return False
        if message.claimed:
            message.callback = None
        else:
            self._released[message_id] = message.callback
        return True

    async def finish(self, message_id: str, now: float) -> None:
        self._expire(now)
        self._released.pop(message_id, None)
        if message := self._messages.get(message_id):
            message.callback = None

    async def take_over(self, now: float, *, limit: int = 1_000) -> list[StoredCallback]:
        self._expire(now)
        released = sorted(self._released.values(), key=lambda callback: callback.received_at)[:limit]
        for callback in released:
            del self._released[callback.message_id]
        return released

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        self._expire(now)
        for message in self._candidates(chats, reply_to, spare_of):
            window = message.window
            if window is not None and not message.claimed and window.chat in chats and window.expires_at > now:
                message.claimed = True
                self._open_windows -= 1
                return window
        return None

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        self._expire(now)
        if message := self._find_claimed(window):
            self._close_window(message)

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        self._expire(now)
        message = self._find_claimed(window)
        if window.expires_at <= now:
            self._expired_windows += 1
            if message:
                self._close_window(message)
        elif message:
            message.window, message.claimed = window, False
            self._open_windows += 1

    @property
    def open_windows(self) -> int:
        return self._open_windows

    @property
    def expired_windows(self) -> int:
        return self._expired_windows

    async def health(self) -> str | None:
        return _FULL if len(self._messages) >= self._max_claims else None

    async def close(self) -> None:
        self._messages.clear()
        self._released.clear()
        self._chats.clear()
        self._open_windows = 0

    def _is_claimed(self, message_id: str, now: float) -> bool:
        message = self._messages.get(message_id)
        if message is None:
            return False
        if message.callback or message.until > now:
            return True
        self._drop(message, now)
        return False

    def _add(self, message: _Message) -> None:
        self._messages[message.message_id] = message
        if message.window:
            self._chats.setdefault(message.window.chat, {})[message.message_id] = message
            self._open_windows += 1

    def _candidates(self, chats: Sequence[str], reply_to: str | None, spare_of: str | None) -> Iterator[_Message]:
        """Yield the messages whose window may be claimed, in order of preference."""
        if reply_to is not None:
            if message := self._messages.get(reply_to):
                yield message
            return
        for chat in chats:
            for message in reversed(self._chats.get(chat, {}).values()):
                if spare_of is None or (
                    message.window and message.window.sender_id == spare_of and not message.callback
                ):
                    yield message

    def _find_claimed(self, window: ReplyWindow) -> _Message | None:
        """Return the message of a claimed window; None if the window is no longer claimed or was replaced."""
        message = self._messages.get(window.message_id)
        if message and message.claimed and message.window and message.window.opened_at == window.opened_at:
            return message
        return None

    def _close_window(self, message: _Message) -> None:
        if message.window is None:
            return
        chat = self._chats[message.window.chat]
        del chat[message.message_id]
        if not chat:
            del self._chats[message.window.chat]
        message.window = None
        self._open_windows -= not message.claimed

    def _expire(self, now: float, *, additions: int = 0) -> None:
        """Remove a few messages whose claims have expired."""
        for _ in range(_EXPIRIES_PER_CALL + 2 * additions):
            oldest = next(iter(self._messages.values()), None)
            if oldest is None or oldest.until > now:
                return
            self._drop(oldest, now)

    def _drop(self, message: _Message, now: float) -> None:
        """Remove a message whose claim has expired. One in progress loses its window, and its claim is extended."""
        self._expired_windows += message.window is not None and not message.claimed
        self._close_window(message)
        if message.callback:
            message.until = now + CLAIM_SECONDS
            self._messages.move_to_end(message.message_id)
        else:
            del self._messages[message.message_id]
