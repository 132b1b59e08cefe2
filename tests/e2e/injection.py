"""A plugin that starts channels with a test's own clock, sockets, resolver or TLS context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maven_channel_wecom.config import read_config
from maven_channel_wecom.contract.hookspecs import hookimpl
from maven_channel_wecom.egress.egress import Egress
from maven_channel_wecom.plugin import build_channel

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from aiohttp.abc import AbstractResolver

    from maven_channel_wecom.channel import WeComChannel
    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.contract.channel import HostServices
    from tests.fakes.connecting import Diversion


class InjectionPlugin:
    """Plugin that starts channels in place of the installed one. Retries use the longest jitter."""

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
        egress = Egress(
            proxy=settings.proxy,
            allow_private_network=settings.allow_private_network,
            resolver=self._resolver,
            socket_factory=self._diversion,
            tls=self._tls,
        )
        channel = await build_channel(name, settings, host, clock=self._clock, egress=egress, jitter=lambda: 1.0)
        await channel.start()
        return channel
