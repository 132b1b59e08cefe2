"""An example of a plugin that keeps a bot silent where its agent says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.contract.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from maven_channel_wecom.contract.channel import Channel
    from maven_channel_wecom.contract.messages import OutboundMessage, Receipt


class Silencer:
    """Plugin that marks blank answers as deliberate, so that no sentence is sent in their place."""

    @hookimpl(tryfirst=True)
    def maven_outbound_send(self, channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
        if message.content.strip() or not isinstance(channel, WeComChannel):
            return None
        return channel.send(msgspec.structs.replace(message, metadata=message.metadata | {"silent": "true"}))
