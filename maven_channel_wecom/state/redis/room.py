"""Whether a full Redis has room: it refuses an admission and lets the steps of messages in hand go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maven_channel_wecom.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class RedisRoom:
    """Remembers the last word on it.

    Args:
        run: runs a command.
        key: of an entry that is written to find out, and gone at once.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]], *, key: str) -> None:
        self._run = run
        self._key = key
        self.trouble: StateUnavailable | None = None
        """What Redis refused for lack of room; None when there is some."""

    def note(self, failure: StateUnavailable | None) -> None:
        """Take note of how an admission went."""
        if failure is None or failure.reason == "state_full":
            self.trouble = failure

    async def look(self) -> None:
        """Write something that is gone at once. Raises StateUnavailable."""
        try:
            await self._run("SET", self._key, "", "PX", 1)
        except StateUnavailable as failure:
            self.note(failure)
            raise
        self.note(None)
