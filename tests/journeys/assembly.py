"""A channel put together by hand where a test needs another clock, other sockets or other names than the machine's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from maven_channel_wecom import __version__
from maven_channel_wecom.channel import WeComChannel
from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.inbound import Inbound
from maven_channel_wecom.inbox import Inbox
from maven_channel_wecom.log_limit import LogLimit
from maven_channel_wecom.media_opening import OUTCOMES, MediaOpener
from maven_channel_wecom.metrics import ChannelMetrics
from maven_channel_wecom.outbound import Outbound
from maven_channel_wecom.policy import delivery
from maven_channel_wecom.state.opening import open_state
from maven_channel_wecom.transport.callback_server import CallbackServer
from maven_channel_wecom.transport.egress import Egress
from maven_channel_wecom.transport.media_client import MediaClient
from maven_channel_wecom.transport.reply_client import ReplyClient

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from aiohttp.abc import AbstractResolver

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.channel import HostServices
    from tests.fakes.connecting import Diversion


class Assembly:
    """Starts channels before the real plugin gets to it; every other hook stays the plugin's. Jitter is the longest."""

    def __init__(
        self,
        clock: Clock,
        *,
        diversion: Diversion | None = None,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._diversion = diversion
        self._resolver = resolver
        self._tls = tls

    @hookimpl(tryfirst=True)
    async def maven_channel_start(self, name: str, config: Mapping[str, Any], host: HostServices) -> WeComChannel:
        settings = read_config(name, config)
        clock = self._clock
        state = await open_state(settings.state, channel=name)
        egress = Egress(
            proxy=settings.proxy,
            allow_private_network=settings.allow_private_network,
            resolver=self._resolver,
            socket_factory=self._diversion,
            tls=self._tls,
        )
        metrics = ChannelMetrics(
            host.metrics,
            name,
            media_outcomes=OUTCOMES,
            reply_reasons=delivery.REASONS,
            retry_reasons=delivery.RETRY_REASONS,
            version=__version__,
        )

        async def close() -> None:
            await egress.close()
            await state.close()
            metrics.close()

        inbox = Inbox(
            name,
            limit=settings.inbox_limit,
            normalize=lambda admitted: host.hook.maven_inbound_normalize(channel=channel, callback=admitted),
            publish=host.publish,
            state=state,
            metrics=metrics,
            clock=clock,
        )
        metrics.watch(lambda: len(inbox), inbox.oldest_seconds, lambda: state.open_windows)
        inbound = Inbound(
            name,
            settings,
            inbox=inbox,
            state=state,
            metrics=metrics,
            clock=clock,
            log_limit=LogLimit(clock),
            random=os.urandom,
        )
        channel = WeComChannel(
            name,
            settings,
            server=CallbackServer(inbound.receive, host=settings.host, port=settings.port, path=settings.path),
            inbound=inbound,
            inbox=inbox,
            media=MediaOpener(
                name,
                MediaClient(egress, sleep=clock.sleep),
                [credentials.key for credentials in settings.credentials],
                metrics=metrics,
                clock=clock,
            ),
            outbound=Outbound(
                name,
                client=ReplyClient(egress),
                state=state,
                metrics=metrics,
                clock=clock,
                random=lambda: 1.0,
                overflow=settings.overflow,
            ),
            state=state,
            close=close,
        )
        await channel.start()
        return channel
