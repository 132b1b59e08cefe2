"""The windows one replica claims in Redis, and the tokens it knows them again by."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.redis import scripts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.state.redis.owed import OwedSteps

_MOST_DOUBTFUL: Final = 1_000
"""Claims whose outcome nobody knows. More are only forgotten: their windows stay claimed."""


class RedisWindows:
    """Claims windows and closes them again.

    Args:
        run: runs a script.
        owed: does what only records that something is over.
        token: returns a new token.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]], *, owed: OwedSteps, token: Callable[[], str]) -> None:
        self._run = run
        self._owed = owed
        self._token = token
        # Windows being answered through, by the token they were claimed with.
        self._holders: dict[str, str] = {}
        # The tokens of claims that failed or were given up, by what was asked: Redis may hold the window for them, and
        # who asks again must find it.
        self._doubtful: dict[tuple[str, str, str], str] = {}

    async def claim(
        self, chat_id: str, message_id: str, *, owner: str, spare_of: str, now: float
    ) -> ReplyWindow | None:
        """Claim the window of a message, or without one the newest of the chat, or of the sender `spare_of` in it.

        `owner` is the token of a message in hand here, and empty for others.
        """
        question = (chat_id, message_id, spare_of)
        holder = self._doubtful.pop(question, None) or self._token()
        try:
            found = await self._run(scripts.CLAIM_WINDOW, holder, owner, message_id, chat_id, spare_of, now)
        except (StateUnavailable, CancelledError):
            self._doubtful[question] = holder
            if len(self._doubtful) > _MOST_DOUBTFUL:
                del self._doubtful[next(iter(self._doubtful))]
            raise
        if not found:
            return None
        window = _window(*found)
        self._holders[window.message_id] = holder
        return window

    async def close(self, window: ReplyWindow, now: float, *, spent: bool) -> None:
        """Spend a claimed window, or open it again."""
        holder = self._holders.pop(window.message_id, "")
        await self._owed.do_or_owe(scripts.CLOSE_WINDOW, holder, window.message_id, int(spent), now)


def _window(
    message_id: bytes, chat: bytes, sender: bytes, url: bytes, opened_at: bytes, expires_at: bytes, repeated: bytes
) -> ReplyWindow:
    return ReplyWindow(
        message_id=message_id.decode(),
        chat_id=chat.decode(),
        sender_id=sender.decode(),
        url=url.decode(),
        opened_at=float(opened_at),
        expires_at=float(expires_at),
        repeated=repeated == b"1",
    )
