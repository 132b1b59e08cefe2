"""An example of a plugin that wraps a hook and changes nothing: it records the receipt of every answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.contract.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from maven_channel_wecom.contract.messages import OutboundMessage, Receipt


class Auditor:
    """Plugin that records each receipt with the `message_id` of the message it answers."""

    def __init__(self) -> None:
        self.receipts: list[tuple[str | None, Receipt]] = []
        self._changed = asyncio.Condition()

    @hookimpl(wrapper=True)
    def maven_outbound_send(
        self, message: OutboundMessage
    ) -> Generator[None, Awaitable[Receipt] | None, Awaitable[Receipt] | None]:
        sending = yield
        return None if sending is None else self._audit(message, sending)

    async def receipt_for(self, message_id: str) -> Receipt:
        """Wait for the receipt of the answer to this message."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: message_id in dict(self.receipts))
        return dict(self.receipts)[message_id]

    async def _audit(self, message: OutboundMessage, sending: Awaitable[Receipt]) -> Receipt:
        receipt = await sending
        async with self._changed:
            self.receipts.append((message.reply_to, receipt))
            self._changed.notify_all()
        return receipt
