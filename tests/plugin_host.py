"""A minimal host that calls the hooks of this plugin, for tests of channels and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy
from prometheus_client import CollectorRegistry

from maven_channel_wecom import plugin
from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.contract import hookspecs

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage

ENTRY: dict[str, Any] = {
    "token": "canary-token",
    "encodingAESKey": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
    "host": "127.0.0.1",
    "port": 0,
}
"""A valid entry of `channels`, which listens on a free local port."""


class PluginHost:
    """A host whose only plugin is this one and whose agent never gets a message."""

    def __init__(self) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        manager.check_pending()
        self.hook = manager.hook
        self.metrics = CollectorRegistry()

    async def publish(self, message: InboundMessage) -> None:
        raise NotImplementedError

    async def start(self, **config: object) -> WeComChannel:
        """Start the channel `wecom` with ENTRY, changed by `config`."""
        channel = await self.hook.maven_channel_start(name="wecom", config={**ENTRY, **config}, host=self)
        assert isinstance(channel, WeComChannel)
        return channel
