"""A channel plugin without a network, which records the messages that are sent through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from maven_channel_wecom.contract.channel import Channel, ChannelStartError, HostServices
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.contract.messages import (
    Capabilities,
    Health,
    InboundMessage,
    OutboundMessage,
    OutboundProgress,
    Receipt,
    TextBlock,
)
from maven_channel_wecom.host.agents.agent import Turn
from maven_channel_wecom.host.plugins import plugin_manager

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pluggy


def message(
    text: str = "hello", *, channel: str = "fake", message_id: str = "m1", chat_id: str = "chat"
) -> InboundMessage:
    """Return a user's message on a fake channel."""
    return InboundMessage(
        channel=channel,
        sender_id="user",
        chat_id=chat_id,
        content=text,
        timestamp=1_800_000_000,
        message_id=message_id,
        content_blocks=(TextBlock(text=text),),
    )


def turn(incoming: InboundMessage | None = None) -> Turn:
    """Return the first turn of a session, for a message."""
    return Turn(incoming or message(), "session-4711")


class FakeChannel:
    """A channel with scripted health."""

    def __init__(self, name: str, host: HostServices) -> None:
        self.name = name
        self.host = host
        self.current_health = Health(ready=True)
        self.health_error: Exception | None = None
        self.health_gate: asyncio.Event | None = None

    async def health(self) -> Health:
        if self.health_error is not None:
            raise self.health_error
        if self.health_gate is not None:
            await self.health_gate.wait()
        return self.current_health


class FakePlugin:
    """Handles entries of type `fake`. Its attributes script its behavior; its lists record what the host did."""

    def __init__(self, *, reactive_only: bool = True, progress: bool = False) -> None:
        self.started: dict[str, FakeChannel] = {}
        self.stopped: list[str] = []
        self.sent: list[OutboundMessage] = []
        self.sent_any = asyncio.Event()
        self.receipt = Receipt(outcome="delivered", attempts=1)
        self.capabilities = Capabilities(
            reactions=False, file_upload=False, reactive_only=reactive_only, progress=progress
        )
        self.capabilities_asked = 0
        self.shown: list[OutboundProgress] = []
        self.shown_any = asyncio.Event()
        self.send_gate: asyncio.Event | None = None
        self.start_gate: asyncio.Event | None = None
        self.stop_gate: asyncio.Event | None = None
        self.starting = asyncio.Event()
        self.stopping = asyncio.Event()
        self.publishing: list[asyncio.Task[None]] = []

    @hookimpl
    def maven_channel_problems(self, name: str, config: Mapping[str, Any]) -> list[str] | None:
        if config.get("type", name) != "fake":
            return None
        return [] if config.get("token") else [f"channels.{name}.token is required"]

    @hookimpl
    async def maven_channel_start(self, name: str, config: Mapping[str, Any], host: HostServices) -> Channel:
        self.starting.set()
        channel = FakeChannel(name, host)
        if "publishes" in config:
            self.publishing.append(asyncio.create_task(host.publish(message(config["publishes"], channel=name))))
        if self.start_gate is not None:
            await self.start_gate.wait()
        if "start_error" in config:
            raise ChannelStartError(config["start_error"])
        if "start_bug" in config:
            raise ValueError(config["start_bug"])
        self.started[name] = channel
        return channel

    @hookimpl
    async def maven_outbound_send(self, channel: Channel, message: OutboundMessage) -> Receipt:
        assert channel is self.started[message.channel]
        self.sent.append(message)
        self.sent_any.set()
        if self.send_gate is not None:
            await self.send_gate.wait()
        return self.receipt

    @hookimpl
    async def maven_outbound_progress(self, channel: Channel, message: OutboundProgress) -> None:
        assert channel is self.started[message.channel]
        self.shown.append(message)
        self.shown_any.set()

    @hookimpl
    def maven_channel_capabilities(self, channel: Channel) -> Capabilities:
        assert channel is self.started[channel.name]
        self.capabilities_asked += 1
        return self.capabilities

    @hookimpl
    async def maven_channel_stop(self, channel: Channel) -> None:
        self.stopping.set()
        if self.stop_gate is not None:
            await self.stop_gate.wait()
        self.stopped.append(channel.name)


def manager_with(plugin: object) -> pluggy.PluginManager:
    """Return a plugin manager whose only plugin is `plugin`, named `fake`."""
    manager = plugin_manager()
    manager.register(plugin, name="fake")
    return manager
