"""An example plugin: numbers that look like a payment card reach neither the agent nor the chat.

A distribution that holds it registers an instance under the entry-point group `maven`, and nothing else has to know:

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
_MARK = "[card number]"


class Redactor:
    """Wraps the two steps every message goes through, on every channel."""

    def __init__(self) -> None:
        self._hook: pluggy.HookRelay | None = None

    @hookimpl(wrapper=True)
    def maven_channel_start(
        self, host: HostServices
    ) -> Generator[None, Awaitable[Channel] | None, Awaitable[Channel] | None]:
        """Remember the relay, through which an answer goes around once more."""
        self._hook = host.hook
        return (yield)

    @hookimpl(wrapper=True)
    def maven_inbound_normalize(
        self,
    ) -> Generator[None, Awaitable[InboundMessage | None] | None, Awaitable[InboundMessage | None] | None]:
        """Redact what the channel makes of a callback, before the agent gets it."""
        normalizing = yield
        return None if normalizing is None else _redacted(normalizing)

    @hookimpl(tryfirst=True)
    def maven_outbound_send(self, channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
        """Redact an answer before it leaves.

        A wrapper cannot change what the hooks below it are called with. So an answer with nothing to redact is left
        to them (None: not answered here), and any other goes around once more, clean.
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
    return _CARD_NUMBER.sub(_MARK, text)
