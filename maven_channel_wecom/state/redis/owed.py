"""Steps that only record what is over: done at once, or owed and made good when Redis is back."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from maven_channel_wecom.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maven_channel_wecom.state.redis.scripts import Script


class OwedSteps:
    """Does such steps in the order they came, so that none overtakes one that is owed.

    There are never many: while Redis is away no new message comes into hand.

    Args:
        run: runs a script.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]]) -> None:
        self._run = run
        self._owed: deque[tuple[Script, tuple[str | float, ...]]] = deque()

    def __len__(self) -> int:
        return len(self._owed)

    async def do_or_owe(self, script: Script, *arguments: str | float) -> None:
        """Run a step now, or remember it."""
        if not self._owed:
            try:
                await self._run(script, *arguments)
            except StateUnavailable:
                pass
            else:
                return
        self._owed.append((script, arguments))

    async def pay(self) -> None:
        """Run what is owed. Raises StateUnavailable when Redis is still away; what is left stays owed."""
        while self._owed:
            script, arguments = self._owed[0]
            await self._run(script, *arguments)
            self._owed.popleft()
