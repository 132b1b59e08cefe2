"""An agent for tests that writes its answers piece by piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.host.agents.agent import Answer

if TYPE_CHECKING:
    from maven_channel_wecom.host.agents.agent import Turn


class WritingAgent:
    """Agent that has written `text` so far, and ends its answer with it once `done` is set.

    `asked` is set by the first question, and `read` when the host reads the text for the first time.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.done = asyncio.Event()
        self.asked = asyncio.Event()
        self.read = asyncio.Event()

    async def answer(self, turn: Turn) -> Answer:
        turn.show(self._text_so_far)
        self.asked.set()
        await self.done.wait()
        return Answer(self.text)

    def _text_so_far(self) -> str:
        self.read.set()
        return self.text

    async def close(self) -> None:
        """Do nothing: the agent holds no resources."""
