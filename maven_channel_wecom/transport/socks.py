"""Connecting through a SOCKS5 proxy, by a checked address or by name. Needs the `socks` extra; imported only then.

aiohttp-socks has its own resolver, ignores a socket factory, and takes the tunnel's destination for the name in the
certificate. So the lookup and the TLS handshake are done here.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import aiohttp_socks
import python_socks

from maven_channel_wecom.transport.failures import ProxyUnusable
from maven_channel_wecom.transport.kept_connections import Unasked
from maven_channel_wecom.transport.proxy import SOCKS_PORT
from maven_channel_wecom.transport.response_handler import ImpatientResponseHandler

if TYPE_CHECKING:
    import asyncio
    import ssl as tls

    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from yarl import URL

# python-socks lets through what its stream raises when the proxy hangs up or the host does not fit the protocol.
_PROXY_FAILURES = (
    python_socks.ProxyError,
    python_socks.ProxyConnectionError,
    python_socks.ProxyTimeoutError,
    EOFError,
    OSError,
    ValueError,
)


class SocksConnector(Unasked, aiohttp_socks.ProxyConnector):
    """Opens connections through `proxy`: to an address found by `resolver`, or, without one, to the name itself."""

    def __init__(
        self, proxy: URL, *, resolver: AbstractResolver | None, ssl: tls.SSLContext | bool, keepalive_timeout: float
    ) -> None:
        super().__init__(
            host=proxy.host or "",
            port=proxy.port or SOCKS_PORT,
            username=proxy.user,
            password=proxy.password,
            rdns=True,
            ssl=ssl,
            keepalive_timeout=keepalive_timeout,
        )
        self._names = resolver

    async def _connect_via_proxy(
        self,
        host: str,
        port: int,
        ssl: tls.SSLContext | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is aiohttp-socks's
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        transport, tunnel = await self._open_tunnel(await self._destinations(host, port), port, timeout)
        inner = _InnerHandler(self._loop, tunnel)
        if ssl is None:
            transport.set_protocol(inner)
            inner.connection_made(transport)
            return transport, inner
        try:
            inner_transport = await self._loop.start_tls(transport, inner, ssl, server_hostname=host.rstrip("."))
        except BaseException:
            transport.abort()
            raise
        if inner_transport is None:
            raise ConnectionResetError
        inner.connection_made(inner_transport)
        return inner_transport, inner

    async def _destinations(self, host: str, port: int) -> list[str]:
        if self._names is None or _is_address(host):
            return [host]
        return [answer["host"] for answer in await self._names.resolve(host, port)]

    async def _open_tunnel(
        self, destinations: list[str], port: int, timeout_seconds: float | None
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        for destination in destinations:
            try:
                return await super()._connect_via_proxy(destination, port, None, timeout_seconds)
            except _PROXY_FAILURES:
                continue
        raise ProxyUnusable


class _InnerHandler(ImpatientResponseHandler):
    """Speaks inside a tunnel. Holds on to the tunnel's own handler, which would close it when collected."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tunnel: ResponseHandler) -> None:
        super().__init__(loop)
        self._tunnel = tunnel


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
