"""Two interfaces of the contract: the channel as its host sees it, and the host as its channels see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pluggy
    from prometheus_client import CollectorRegistry

    from maven_channel_wecom.contract.messages import Health, InboundMessage


class ChannelStartError(Exception):
    """A channel could not start. The message is one sentence for the operator: what is wrong and what to do."""


class Channel(Protocol):
    """A started channel. It owns everything that was opened for it; only the host keeps a reference to it."""

    @property
    def name(self) -> str:
        """The key of the channel's entry under `channels`."""
        ...

    async def health(self) -> Health:
        """Return whether the channel can receive messages now. Cheap: contacts nothing but the channel's state."""
        ...


class HostServices(Protocol):
    """Services that a host gives to each channel it starts."""

    @property
    def hook(self) -> pluggy.HookRelay:
        """The relay through which a channel calls hooks, so that other plugins can wrap the calls."""
        ...

    @property
    def metrics(self) -> CollectorRegistry:
        """The registry to which a channel adds its metrics; it removes them when it stops."""
        ...

    async def publish(self, message: InboundMessage) -> None:
        """Hand a message to the agent, and return when the host has dealt with it and with its answer.

        Called only after the awaitable of `maven_channel_start` is done, for recovered and new messages alike, in a
        task of its own. Once this returns, the channel may forget the message. Calls may overlap; the host begins to
        work on messages in the order of the calls. An exception means that the host could not deal with the message:
        the channel calls again later, with growing delays, as long as the message can be answered.
        """
        ...
