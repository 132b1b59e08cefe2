"""All hooks between a Maven host and its channels.

A channel is a distribution with an entry point in the group `maven` that names a module or object whose functions are
marked `@hookimpl`. pluggy is synchronous, so a hook that takes time returns an awaitable for its caller to await.
Another plugin can wrap any hook (`@hookimpl(wrapper=True)`) to redact, audit or measure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from maven_channel_wecom.contract.channel import Channel, HostServices
    from maven_channel_wecom.contract.messages import (
        Capabilities,
        InboundEvent,
        InboundMessage,
        OutboundMessage,
        OutboundProgress,
        Receipt,
    )

CONTRACT_VERSION: Final = 1
"""Version of the contract. It rises when a hook is removed or changes its meaning, not when one gains an argument or
a new hook is added."""

PROJECT_NAME: Final = "maven"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def maven_channel_problems(name: str, config: Mapping[str, Any]) -> list[str] | None:
    """Check one entry of `channels`.

    Called once for each entry before any channel starts; the host shows the problems of all entries together.
    `config` is the raw mapping under `channels.<name>`. The entry belongs to the plugin that implements its `type`,
    which defaults to its name.

    Returns:
        One sentence for each problem, beginning with the key (`channels.wecom.token is required …`); an empty list if
        there is none. None if the entry belongs to another plugin.
    """


@hookspec
def maven_channels_problems(
    channels: Mapping[str, Mapping[str, Any]], taken: Sequence[tuple[str, int, str]]
) -> list[str] | None:
    """Check which entries of `channels` exclude each other. Optional: a host may not call it.

    Called once, after `maven_channel_problems` for each entry, before any channel starts. `channels` holds all enabled
    entries, those with problems too. `taken` holds the addresses where the host itself listens: host, port, and the key
    of the configuration that sets the port.

    Returns:
        One sentence for each problem, which names every key concerned.
    """


@hookspec(firstresult=True)
def maven_channel_start(name: str, config: Mapping[str, Any], host: HostServices) -> Awaitable[Channel] | None:
    """Start one channel.

    Called at server startup, after `maven_channel_problems` found none in any entry.

    Returns:
        An awaitable of the channel, which is then listening. It raises ChannelStartError if the channel cannot start,
        for example because its port is in use or its state cannot be opened. None if the entry belongs to another
        plugin. The channel publishes no message before the awaitable is done.
    """


@hookspec(firstresult=True)
def maven_inbound_normalize(channel: Channel, callback: object) -> Awaitable[InboundMessage | None] | None:
    """Convert an admitted callback into a message.

    Called by a channel, through the host's relay, for each message it has admitted. `callback` has a type of the
    channel's own: a wrapper passes it on unchanged and works on the resulting message. A channel that has already told
    the sender that the callback holds nothing for the agent ignores the result.

    Returns:
        An awaitable of the message with its multimodal content blocks, or of None if the callback holds nothing for
        the agent. None instead of an awaitable if the channel belongs to another plugin.
    """


@hookspec
def maven_inbound_event(channel: Channel, event: InboundEvent) -> object:
    """Learn of an event that is no message: a person entered the chat, or rated an answer. Optional on both sides.

    Called by a channel, through the host's relay, at most once for each event. An exception is logged and has no other
    effect. It is not awaited: an implementation that takes time starts a task.

    Returns:
        Anything; it is ignored.
    """


@hookspec(firstresult=True)
def maven_outbound_progress(channel: Channel, message: OutboundProgress) -> Awaitable[None] | None:
    """Show the text of an answer so far. Optional on both sides.

    Called by the host while the agent writes an answer, again and again with the whole text so far, for channels with
    the capability `progress`. Calls for one message never overlap, and none follows `maven_outbound_send` for it. A
    channel may skip texts, and ignores progress for a message that it does not know or has already answered.

    Returns:
        An awaitable that is done soon: it waits for no request to the platform, and never raises. None if the channel
        belongs to another plugin.
    """


@hookspec(firstresult=True)
def maven_outbound_send(channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
    """Send one answer of the agent.

    Called by the host for each answer.

    Returns:
        An awaitable of the receipt. Failures of the platform or the network are reported in the receipt, never raised.
        None if the channel belongs to another plugin.
    """


@hookspec(firstresult=True)
def maven_channel_capabilities(channel: Channel) -> Capabilities | None:
    """Return what a channel can do.

    Called at most once for each message that the agent answers, and whenever the host wants to send a message that is
    not an answer, such as the result of a cron job.

    Returns:
        The capabilities. None if the channel belongs to another plugin.
    """


@hookspec(firstresult=True)
def maven_channel_stop(channel: Channel) -> Awaitable[None] | None:
    """Stop one channel.

    Called at shutdown. The channel refuses new messages, waits a limited time for those in
    progress, and closes everything.

    Returns:
        An awaitable that is done when the channel has stopped. None if the channel belongs to another plugin.
    """


def call_optional(hook: pluggy.HookRelay, name: str, **arguments: object) -> Any:  # noqa: ANN401 - each hook's own
    """Call a hook that the other side may not know. None, or an empty list, means that nobody implements it."""
    caller = getattr(hook, name, None)
    return None if caller is None else caller(**arguments)
