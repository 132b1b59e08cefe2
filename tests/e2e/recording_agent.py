"""An agent for tests that records every message, can hold an answer back, and echoes by default."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.host.agents.agent import Answer
from maven_channel_wecom.host.agents.echo import EchoAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage
    from maven_channel_wecom.host.agents.agent import Turn

PARALLEL: Final = {
    "agent": {
        "type": "responses",
        "url": "http://127.0.0.1:1/v1/responses",
        "model": "unused",
        "memory": "server",
        "parallelTurns": True,
    }
}
"""Configuration of a host that runs the turns of one chat side by side."""


class RecordingAgent:
    """Agent that keeps every message it receives in `messages`.

    It answers with what `reply` returns for a message, or with an echo if there is no `reply`.
    """

    def __init__(self, reply: Callable[[InboundMessage], str] | None = None) -> None:
        self.messages: list[InboundMessage] = []
        self._reply = reply
        self._echo = EchoAgent()
        self._gates: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()

    @property
    def texts(self) -> list[str]:
        """The text of each message so far."""
        return [message.content for message in self.messages]

    @property
    def blocks(self) -> tuple[ContentBlock, ...]:
        """The content blocks of the last message."""
        return self.messages[-1].content_blocks

    def hold(self, text: str) -> asyncio.Event:
        """Hold back the answer to the message with this text until the returned event is set."""
        return self._gates.setdefault(text, asyncio.Event())

    async def received(self, text: str) -> InboundMessage:
        """Wait for the message with this text and return it."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: text in self.texts)
        return self.messages[self.texts.index(text)]

    async def answer(self, turn: Turn) -> Answer:
        message = turn.message
        self.messages.append(message)
        async with self._changed:
            self._changed.notify_all()
        if gate := self._gates.get(message.content):
            await gate.wait()
        return Answer(self._reply(message)) if self._reply else await self._echo.answer(turn)

    async def close(self) -> None:
        """Do nothing: the agent holds no resources."""
