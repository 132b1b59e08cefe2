"""The hooks of the channel, and the one place where its parts are built and joined."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from maven_channel_wecom import __version__
from maven_channel_wecom import config as configuration
from maven_channel_wecom.callback_log import CallbackLog
from maven_channel_wecom.channel import CAPABILITIES, WeComChannel
from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.inbound import Inbound
from maven_channel_wecom.inbox import AdmittedCallback, Inbox
from maven_channel_wecom.intake import Intake
from maven_channel_wecom.log_limit import LogLimit
from maven_channel_wecom.measured_state import MeasuredState
from maven_channel_wecom.media_opening import OUTCOMES, MediaOpener
from maven_channel_wecom.media_room import MediaRoom
from maven_channel_wecom.metrics.series import ChannelMetrics
from maven_channel_wecom.outbound import Outbound
from maven_channel_wecom.policy import delivery
from maven_channel_wecom.recovery import recover
from maven_channel_wecom.state.opening import open_state
from maven_channel_wecom.tracing import open_tracing
from maven_channel_wecom.transport.callback_server import CallbackServer
from maven_channel_wecom.transport.egress import Egress
from maven_channel_wecom.transport.media_client import MediaClient
from maven_channel_wecom.transport.reply_client import ReplyClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.contract.channel import Channel, HostServices
    from maven_channel_wecom.contract.messages import Capabilities, InboundMessage, OutboundMessage, Receipt


@hookimpl
def maven_channel_problems(name: str, config: Mapping[str, Any]) -> list[str] | None:
    """See the hook specification."""
    return configuration.problems(name, config) if _is_ours(name, config) else None


@hookimpl
def maven_channel_start(name: str, config: Mapping[str, Any], host: HostServices) -> Awaitable[Channel] | None:
    """See the hook specification."""
    return _start(name, config, host) if _is_ours(name, config) else None


@hookimpl
def maven_inbound_normalize(channel: Channel, callback: object) -> Awaitable[InboundMessage | None] | None:
    """See the hook specification."""
    if isinstance(channel, WeComChannel) and isinstance(callback, AdmittedCallback):
        return channel.normalize(callback)
    return None


@hookimpl
def maven_outbound_send(channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
    """See the hook specification."""
    return channel.send(message) if isinstance(channel, WeComChannel) else None


@hookimpl
def maven_channel_capabilities(channel: Channel) -> Capabilities | None:
    """See the hook specification."""
    return CAPABILITIES if isinstance(channel, WeComChannel) else None


@hookimpl
def maven_channel_stop(channel: Channel) -> Awaitable[None] | None:
    """See the hook specification."""
    return channel.stop() if isinstance(channel, WeComChannel) else None


def _is_ours(name: str, config: Mapping[str, Any]) -> bool:
    return bool(config.get("type", name) == configuration.TYPE)


async def _start(name: str, raw: Mapping[str, Any], host: HostServices) -> WeComChannel:
    # In a thread, as secrets may stand in files.
    config = await asyncio.to_thread(configuration.read_config, name, raw)
    egress = Egress(
        proxy=config.proxy, allow_private_network=config.allow_private_network, short_path=config.short_path
    )
    channel = await build_channel(name, config, host, clock=SystemClock(), egress=egress, jitter=random.random)
    await channel.start()
    return channel


async def build_channel(
    name: str,
    config: WeComConfig,
    host: HostServices,
    *,
    clock: Clock,
    egress: Egress,
    jitter: Callable[[], float],
) -> WeComChannel:
    """Build a channel that does not listen yet, on a clock, a way out and a source of jitter from 0 to 1."""
    try:
        opened = await open_state(config.state, channel=name)
    except StateUnavailable as unavailable:
        message = f"channels.{name}.state cannot be opened: {unavailable}"
        raise ChannelStartError(message) from None
    metrics = ChannelMetrics(
        host.metrics,
        name,
        media_outcomes=OUTCOMES,
        reply_reasons=delivery.REASONS,
        retry_reasons=delivery.RETRY_REASONS,
        version=__version__,
    )
    state = MeasuredState(opened, metrics, clock)

    def normalize(admitted: AdmittedCallback) -> Awaitable[InboundMessage | None]:
        # Through the relay, so that other plugins can wrap the step.
        normalizing: Awaitable[InboundMessage | None] = host.hook.maven_inbound_normalize(
            channel=channel, callback=admitted
        )
        return normalizing

    async def close() -> None:
        await egress.close()
        await state.close()
        metrics.close()

    tracing = open_tracing(name, __version__)
    media_room = MediaRoom(config.media_limit_bytes)
    inbox = Inbox(
        name,
        limit=config.inbox_limit,
        normalize=tracing.normalize(normalize),
        publish=tracing.publish(host.publish),
        media_room=media_room,
        state=state,
        metrics=metrics,
        clock=clock,
    )
    metrics.inbox_limit.set(config.inbox_limit)
    metrics.watch(
        inbox_messages=lambda: len(inbox),
        inbox_oldest_seconds=inbox.oldest_seconds,
        reply_windows=lambda: state.open_windows,
        state_up=lambda: state.up,
        media_bytes=lambda: media_room.taken_bytes,
    )
    log = CallbackLog(name, LogLimit(clock, metrics.log_lines_suppressed.inc))
    intake = Intake(config.rules, inbox=inbox, state=state, metrics=metrics, clock=clock, log=log)
    inbound = Inbound(
        config,
        intake=intake,
        take=tracing.callback(intake.take),
        metrics=metrics,
        clock=clock,
        log=log,
        random=os.urandom,
    )
    server = CallbackServer(
        inbound,
        host=config.host,
        port=config.port,
        path=config.path,
        dropped=metrics.count_dropped_connection,
        short_path=config.short_path,
    )
    metrics.watch(connections=lambda: len(server.connections))
    outbound = Outbound(
        name,
        client=ReplyClient(egress),
        state=state,
        metrics=metrics,
        clock=clock,
        random=jitter,
        overflow=config.overflow,
    )
    channel: WeComChannel = WeComChannel(
        name,
        config,
        server=server,
        inbound=inbound,
        inbox=inbox,
        media=MediaOpener(
            name,
            MediaClient(egress, sleep=clock.sleep),
            list(dict.fromkeys(credentials.key for credentials in config.credentials)),
            room=media_room,
            metrics=metrics,
            clock=clock,
        ),
        send=tracing.deliver(outbound.send),
        state=state,
        metrics=metrics,
        recover=partial(recover, name, state=state, inbox=inbox, put=tracing.takeover(inbox.put), clock=clock),
        close=close,
    )
    return channel
