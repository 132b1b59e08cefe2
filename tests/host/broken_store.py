"""A store of conversations that always fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.host.memory_store import MemoryUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.host.conversations import Conversation

REASON = "the file cannot grow, its disk is full: free some space"


class BrokenStore:
    """Raises MemoryUnavailable for every operation."""

    async def read(self, session: str, now: float) -> Conversation:
        raise MemoryUnavailable(REASON)

    async def change(self, session: str, change: Callable[[Conversation], Conversation], now: float) -> None:
        raise MemoryUnavailable(REASON)

    async def close(self) -> None:
        pass
