"""The two handles of the contract: the channel a host holds, and the services a channel gets from its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pluggy
    from prometheus_client import CollectorRegistry

    from maven_channel_wecom.contract.messages import Health, InboundMessage


class ChannelStartError(Exception):
    """A channel could not start. The text is one sentence for the operator: what is wrong and what to do."""


class Channel(Protocol):
    """A started channel. Everything that lives for it lives on this handle, which only the host keeps."""

    @property
    def name(self) -> str:
        """The key of its entry under `channels`."""
        ...

    async def health(self) -> Health:
        """Whether it can take messages now. Cheap, and asks nobody outside this machine's own state."""
        ...


class HostServices(Protocol):
    """What a host gives to each channel it starts."""

    @property
    def hook(self) -> pluggy.HookRelay:
        """The relay through which a channel calls hooks, so that other plugins can wrap them."""
        ...

    @property
    def metrics(self) -> CollectorRegistry:
        """The registry a channel adds its metrics to, and removes them from when it stops."""
        ...

    async def publish(self, message: InboundMessage) -> None:
        """Hand a message to the agent.

        Returns when the host has dealt with the message, its answer included: from then on it may be forgotten.
        Messages are taken in the order of the calls. Raises what the host could not deal with.
        """
        ...
