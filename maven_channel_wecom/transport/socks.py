"""Connections through a SOCKS5 proxy, to a checked address or to a name. Needs the `socks` extra; imported when used.

`_connect_via_proxy` is the only private method that is overridden, as neither aiohttp nor aiohttp-socks has a public
hook for it. aiohttp-socks brings its own resolver, ignores a socket factory, and expects a certificate for the address
that the tunnel leads to.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import aiohttp_socks
import python_socks

from maven_channel_wecom.transport.answer_limit import AnswerLimitConnector, LimitedHandler, limit_answers
from maven_channel_wecom.transport.proxy import SOCKS_PORT
from maven_channel_wecom.transport.proxy_failures import ProxyUnusable

if TYPE_CHECKING:
    import ssl as tls
    import weakref

    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from yarl import URL

    from maven_channel_wecom.transport.answer_limit import AnswerLimit
    from maven_channel_wecom.transport.proxy_failures import ProxyFailure

# python-socks does not wrap the errors raised when the proxy hangs up or the host does not fit the protocol.
_PROXY_ERRORS = (
    python_socks.ProxyError,
    python_socks.ProxyConnectionError,
    python_socks.ProxyTimeoutError,
    EOFError,
    OSError,
    ValueError,
)


class SocksConnector(AnswerLimitConnector, aiohttp_socks.ProxyConnector):
    """Opens a connection through a SOCKS5 proxy for each request.

    Args:
        proxy: URL of the proxy, with user and password if it requires them.
        resolver: resolves the host to an address, which the proxy is asked for; if None, it is asked for the name.
        ssl: the trusted authorities.
    """

    def __init__(self, proxy: URL, *, resolver: AbstractResolver | None, ssl: tls.SSLContext | bool) -> None:
        super().__init__(
            host=proxy.host or "",
            port=proxy.port or SOCKS_PORT,
            username=proxy.user,
            password=proxy.password,
            rdns=True,
            ssl=ssl,
            force_close=True,
            limit=0,
        )
        self._destination_resolver = resolver

    async def _connect_via_proxy(
        self,
        host: str,
        port: int,
        ssl: tls.SSLContext | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is aiohttp-socks's
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        transport, tunnel = await self._open_tunnel(await self._destinations(host, port), port, timeout)
        if ssl is None:
            limit_answers(tunnel, transport, self._limits)
            return transport, tunnel
        loop = asyncio.get_running_loop()
        handler = _TlsHandler(loop, self._limits, tunnel)
        try:
            tls_transport = await loop.start_tls(transport, handler, ssl, server_hostname=host.rstrip("."))
        except BaseException:
            transport.abort()
            raise
        if tls_transport is None:
            raise ConnectionResetError
        handler.connection_made(tls_transport)
        return tls_transport, handler

    async def _destinations(self, host: str, port: int) -> list[str]:
        if self._destination_resolver is None or _is_address(host):
            return [host]
        return [answer["host"] for answer in await self._destination_resolver.resolve(host, port)]

    async def _open_tunnel(
        self, destinations: list[str], port: int, timeout_seconds: float | None
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        failure: ProxyFailure = "refused"
        for destination in destinations:
            try:
                return await super()._connect_via_proxy(destination, port, None, timeout_seconds)
            except _PROXY_ERRORS as error:
                failure = _failure(error)
        raise ProxyUnusable(failure)


class _TlsHandler(LimitedHandler):
    """Handles HTTP inside TLS. Keeps a reference to the tunnel's handler, which closes the tunnel when collected."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: weakref.WeakSet[AnswerLimit], tunnel: ResponseHandler
    ) -> None:
        super().__init__(loop, limits)
        self._tunnel = tunnel


def _failure(error: Exception) -> ProxyFailure:
    if isinstance(error, python_socks.ProxyConnectionError):
        return "unresolved" if isinstance(error.__cause__, socket.gaierror) else "unreachable"
    if isinstance(error, python_socks.ProxyError) and error.error_code is None:
        # The proxy has not replied to the request for a connection. python-socks has no other sign of the cause.
        return "credentials" if "authentication" in str(error).lower() else "not_socks"
    return "not_socks" if isinstance(error, EOFError) else "refused"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
