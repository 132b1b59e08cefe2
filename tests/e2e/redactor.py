"""An example plugin that redacts what looks like a payment card number, on the way in and on the way out.

A distribution registers an instance of it in the entry-point group `maven`; no other configuration is needed:

    [project.entry-points.maven]
    redactor = "my_redactor:plugin"      # in my_redactor.py: plugin = Redactor()
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import ContentBlock, InboundMessage, OutboundMessage, Receipt, TextBlock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    import pluggy

    from maven_channel_wecom.contract.channel import Channel, HostServices

_CARD_NUMBER = re.compile(r"\b(?:[0-9]{4}[ -]?){3}[0-9]{4}\b", re.ASCII)
_PLACEHOLDER = "[card number]"


class Redactor:
    """Plugin that redacts inbound messages and answers, on every channel."""

    def __init__(self) -> None:
        self._hook: pluggy.HookRelay | None = None

    @hookimpl(wrapper=True)
    def maven_channel_start(
        self, host: HostServices
    ) -> Generator[None, Awaitable[Channel] | None, Awaitable[Channel] | None]:
        """Keep the hook relay, which `maven_outbound_send` needs to call the hook again."""
        self._hook = host.hook
        return (yield)

    @hookimpl(wrapper=True)
    def maven_inbound_normalize(
        self,
    ) -> Generator[None, Awaitable[InboundMessage | None] | None, Awaitable[InboundMessage | None] | None]:
        """Redact the message that the channel returns, before the agent receives it."""
        normalizing = yield
        return None if normalizing is None else _redacted(normalizing)

    @hookimpl(tryfirst=True)
    def maven_outbound_send(self, channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
        """Redact an answer before it leaves.

        A wrapper cannot change the arguments of the implementations it wraps. So this implementation runs first: it
        returns None for an answer without a card number, which leaves it to the next implementation, and for any other
        it calls the hook again with the redacted text.
        """
        clean = _redact(message.content)
        if clean == message.content or self._hook is None:
            return None
        sending: Awaitable[Receipt] | None = self._hook.maven_outbound_send(
            channel=channel, message=msgspec.structs.replace(message, content=clean)
        )
        return sending


async def _redacted(normalizing: Awaitable[InboundMessage | None]) -> InboundMessage | None:
    message = await normalizing
    if message is None:
        return None
    return msgspec.structs.replace(
        message,
        content=_redact(message.content),
        content_blocks=tuple(_redact_block(block) for block in message.content_blocks),
    )


def _redact_block(block: ContentBlock) -> ContentBlock:
    return msgspec.structs.replace(block, text=_redact(block.text)) if isinstance(block, TextBlock) else block


def _redact(text: str) -> str:
    return _CARD_NUMBER.sub(_PLACEHOLDER, text)
