"""An agent for tests: hears, waits where it is told to, and answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.host.agents.echo import EchoAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage


class Listener:
    """Keeps what it heard. Answers with what `reply` makes of a message, or with an echo."""

    def __init__(self, reply: Callable[[InboundMessage], str] | None = None) -> None:
        self.heard: list[InboundMessage] = []
        self._reply = reply
        self._echo = EchoAgent()
        self._gates: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()

    @property
    def words(self) -> list[str]:
        """The text of each message so far."""
        return [message.content for message in self.heard]

    @property
    def blocks(self) -> tuple[ContentBlock, ...]:
        """The blocks of the last message."""
        return self.heard[-1].content_blocks

    def hold(self, words: str) -> asyncio.Event:
        """Answer the message of these words only when the event is set."""
        return self._gates.setdefault(words, asyncio.Event())

    async def hears(self, words: str) -> InboundMessage:
        """Wait for a message of these words."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: words in self.words)
        return self.heard[self.words.index(words)]

    async def answer(self, message: InboundMessage) -> str:
        self.heard.append(message)
        async with self._changed:
            self._changed.notify_all()
        if gate := self._gates.get(message.content):
            await gate.wait()
        return self._reply(message) if self._reply else await self._echo.answer(message)

    async def close(self) -> None:
        """There is nothing to let go of."""
