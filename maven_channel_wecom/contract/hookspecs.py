"""Every hook between a Maven host and its channels.

A channel is a distribution with an entry point in the group `maven`, naming a module or object whose functions carry
`@hookimpl`. pluggy is synchronous: hooks that take time return an awaitable and the host awaits it. Each hook may be
wrapped by another plugin (`@hookimpl(wrapper=True)`), to redact, to audit or to measure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from maven_channel_wecom.contract.channel import Channel, HostServices
    from maven_channel_wecom.contract.messages import Capabilities, InboundMessage, OutboundMessage, Receipt

CONTRACT_VERSION: Final = 1
"""Raised when a hook is removed or changes its meaning; a new hook or a new argument does not raise it."""

PROJECT_NAME: Final = "maven"
"""The pluggy project name and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def maven_channel_problems(name: str, config: Mapping[str, Any]) -> list[str] | None:
    """Tell what is wrong with one entry of `channels`.

    Called before any channel starts, once for each entry; the host shows the problems of all entries at once.
    `config` is the raw mapping under `channels.<name>`. A plugin answers for an entry when its `type` (default: its
    name) is the plugin's own.

    Returns:
        A list of sentences, each naming the key (`channels.wecom.token is required …`), empty when all is well;
        None when the entry belongs to another plugin.
    """


@hookspec(firstresult=True)
def maven_channel_start(name: str, config: Mapping[str, Any], host: HostServices) -> Awaitable[Channel] | None:
    """Start one channel.

    Called at server startup, after every entry was found free of problems.

    Returns:
        An awaitable of the channel, which listens once it is there; it raises ChannelStartError when the channel
        cannot start (a port in use, a state that cannot be opened). None for another plugin's entry.
    """


@hookspec(firstresult=True)
def maven_inbound_normalize(channel: Channel, callback: object) -> Awaitable[InboundMessage | None] | None:
    """Turn what came in into a message.

    Called by a channel, through the host's relay, for each callback it admitted. `callback` is the channel's own
    value: a wrapper passes it on as it is and works on the message.

    Returns:
        An awaitable of the message with its multimodal content blocks, or of None when there is nothing to say.
        None instead of an awaitable for another plugin's channel.
    """


@hookspec(firstresult=True)
def maven_outbound_send(channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
    """Send one answer.

    Called by the host for each answer of the agent.

    Returns:
        An awaitable of the receipt; it does not raise for anything the platform or the network does. None for
        another plugin's channel.
    """


@hookspec(firstresult=True)
def maven_channel_capabilities(channel: Channel) -> Capabilities | None:
    """Tell what a channel can do.

    Called whenever the host wants to deliver on its own account: cron jobs, alerts.

    Returns:
        The capabilities; None for another plugin's channel.
    """


@hookspec(firstresult=True)
def maven_channel_stop(channel: Channel) -> Awaitable[None] | None:
    """Stop one channel.

    Called at shutdown and before a reload.

    Returns:
        An awaitable that is done when new work is refused, work in hand is finished or its time is over, and
        everything is closed. None for another plugin's channel.
    """
