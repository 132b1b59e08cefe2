"""The hooks of the plugin, and the only code that builds and connects the parts of a channel."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from maven_channel_wecom import __version__
from maven_channel_wecom import config as configuration
from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.clock import SystemClock
from maven_channel_wecom.contract.channel import ChannelStartError
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.egress.media_client import MediaClient
from maven_channel_wecom.errors import ConfigError, StateUnavailable
from maven_channel_wecom.inbound import Inbound
from maven_channel_wecom.inbox import AdmittedCallback, Inbox
from maven_channel_wecom.media import MediaBudget, MediaFetcher
from maven_channel_wecom.outbound import Outbound
from maven_channel_wecom.passive_replies import PassiveReplies
from maven_channel_wecom.policy.language import Languages
from maven_channel_wecom.policy.stream import StreamTimes
from maven_channel_wecom.refusals import Refusals
from maven_channel_wecom.server.server import CallbackServer
from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.streams import Streams
from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.telemetry import Telemetry
from maven_channel_wecom.telemetry.timed_state import TimedState
from maven_channel_wecom.telemetry.trail import trail_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.config import WeComConfig
    from maven_channel_wecom.contract.channel import Channel, HostServices
    from maven_channel_wecom.contract.messages import (
        Capabilities,
        InboundMessage,
        OutboundMessage,
        OutboundProgress,
        Receipt,
    )
    from maven_channel_wecom.protocol.callback import Callback


STREAM_TIMES = StreamTimes()
"""The times of the streams of every channel that is built afterwards. Only tests and the demo replace it."""


@hookimpl
def maven_channel_problems(name: str, config: Mapping[str, Any]) -> list[str] | None:
    return configuration.problems(name, config) if configuration.is_wecom(name, config) else None


@hookimpl(optionalhook=True)
def maven_channels_problems(
    channels: Mapping[str, Mapping[str, Any]], taken: Sequence[tuple[str, int, str]]
) -> list[str]:
    entries = {name: config for name, config in channels.items() if configuration.is_wecom(name, config)}
    return configuration.conflicts(entries, taken)


@hookimpl
def maven_channel_start(name: str, config: Mapping[str, Any], host: HostServices) -> Awaitable[Channel] | None:
    return _start(name, config, host) if configuration.is_wecom(name, config) else None


@hookimpl
def maven_inbound_normalize(channel: Channel, callback: object) -> Awaitable[InboundMessage | None] | None:
    if isinstance(channel, WeComChannel) and isinstance(callback, AdmittedCallback):
        return channel.normalize(callback)
    return None


@hookimpl
def maven_outbound_send(channel: Channel, message: OutboundMessage) -> Awaitable[Receipt] | None:
    return channel.send(message) if isinstance(channel, WeComChannel) else None


@hookimpl(optionalhook=True)
def maven_outbound_progress(channel: Channel, message: OutboundProgress) -> Awaitable[None] | None:
    return channel.show(message) if isinstance(channel, WeComChannel) else None


@hookimpl
def maven_channel_capabilities(channel: Channel) -> Capabilities | None:
    return channel.capabilities if isinstance(channel, WeComChannel) else None


@hookimpl
def maven_channel_stop(channel: Channel) -> Awaitable[None] | None:
    return channel.stop() if isinstance(channel, WeComChannel) else None


async def _start(name: str, raw: Mapping[str, Any], host: HostServices) -> WeComChannel:
    try:
        # In a thread, because secrets may be read from files.
        config = await asyncio.to_thread(configuration.read_config, name, raw)
    except ConfigError as error:
        # A secret's file or environment variable may have changed since `maven_channel_problems` read it.
        raise ChannelStartError(str(error)) from None
    egress = Egress(proxy=config.proxy, allow_private_network=config.allow_private_network)
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
    """Build a channel that is not started.

    Args:
        name: the key of the channel's entry under `channels`.
        config: the settings of the channel.
        host: the services of its host.
        clock: the source of time.
        egress: sends replies and downloads media.
        jitter: returns a random number from 0 to 1.

    Raises:
        ChannelStartError: the state cannot be opened.
    """
    try:
        opened = await open_state(config.state, channel=name, clock=clock)
    except StateUnavailable as unavailable:
        message = f"channels.{name}.state cannot be opened: {unavailable}"
        raise ChannelStartError(message) from None
    telemetry = Telemetry(host.metrics, name, now=clock.now, version=__version__)
    state = TimedState(opened, telemetry, now=clock.now)

    async def normalize(admitted: AdmittedCallback) -> InboundMessage | None:
        # Until the channel has started, the host does not know it.
        await channel.started.wait()
        # Through the host's relay, so that other plugins can wrap the hook.
        normalized: InboundMessage | None = await host.hook.maven_inbound_normalize(channel=channel, callback=admitted)
        return normalized

    async def explain(callback: Callback) -> None:
        await channel.explain(callback)

    async def apologize(callback: Callback) -> None:
        await channel.apologize(callback)

    async def report_event(admitted: AdmittedCallback) -> None:
        # Before that, the host does not know the channel.
        await channel.started.wait()
        channel.report_event(admitted, host.hook)

    async def close() -> None:
        await refusals.close()
        await streams.close()
        await egress.close()
        await state.close()
        telemetry.close()

    languages = Languages(config.language, config.mention_names)
    feedback_id = partial(trail_id, name) if config.feedback else None
    streams = Streams(
        name,
        progress=config.progress,
        text=config.progress_text,
        feedback_id=feedback_id,
        languages=languages,
        state=state,
        emit=telemetry,
        clock=clock,
        times=STREAM_TIMES,
    )
    outbound = Outbound(
        poster=egress,
        streams=streams,
        state=state,
        emit=telemetry,
        clock=clock,
        random=jitter,
        overflow=config.overflow,
        languages=languages,
        feedback_id=feedback_id,
    )
    refusals = Refusals(config.refusal_text, poster=egress, languages=languages, emit=telemetry, clock=clock)
    budget = MediaBudget(config.media_limit_bytes)
    inbox = Inbox(
        limit=config.inbox_limit,
        normalize=telemetry.tracing.normalize(normalize),
        publish=telemetry.tracing.publish(host.publish),
        explain=explain,
        apologize=apologize,
        streams=streams,
        report_event=report_event,
        media_budget=budget,
        state=state,
        emit=telemetry,
        clock=clock,
    )
    inbound = Inbound(
        config,
        state=state,
        inbox=inbox,
        streams=streams,
        replies=PassiveReplies(
            name,
            progress=config.progress,
            progress_text=config.progress_text,
            welcome_text=config.welcome_text,
            languages=languages,
            streams=streams,
        ),
        refusals=refusals,
        emit=telemetry,
        clock=clock,
        random=os.urandom,
    )
    server = CallbackServer(
        inbound,
        host=config.host,
        port=config.port,
        path=config.path,
        idle_seconds=config.idle_seconds,
        rejected=lambda reason, status: telemetry(events.RequestRejected(reason=reason, status=status)),
        dropped=lambda reason: telemetry(events.ConnectionDropped(reason=reason)),
    )
    keys = list(dict.fromkeys(credentials.key for credentials in config.credentials))
    telemetry.watch(
        connections=lambda: server.connections,
        inbox_limit=lambda: config.inbox_limit,
        last_callback_timestamp_seconds=lambda: inbound.last_signed_at,
        inbox_messages=lambda: len(inbox),
        inbox_oldest_seconds=inbox.oldest_seconds,
        media_bytes=lambda: budget.used_bytes,
        reply_windows=lambda: state.open_windows,
        state_up=lambda: state.up,
    )
    channel: WeComChannel = WeComChannel(
        name,
        config,
        server=server,
        inbound=inbound,
        inbox=inbox,
        languages=languages,
        streams=streams,
        media=MediaFetcher(MediaClient(egress, sleep=clock.sleep), keys, budget=budget, emit=telemetry, clock=clock),
        send=telemetry.tracing.deliver(outbound.send),
        state=state,
        emit=telemetry,
        close=close,
    )
    return channel
