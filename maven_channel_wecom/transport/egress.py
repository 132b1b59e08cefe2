"""The one way out: every reply and every download goes through here, so no request can avoid the rules.

Never to an address that is not public, never past the configured proxy, never after a redirect, never twice.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp

from maven_channel_wecom.errors import WeComError
from maven_channel_wecom.transport import addresses
from maven_channel_wecom.transport.failures import ForbiddenAddress, lost, not_sent, not_sent_reason
from maven_channel_wecom.transport.kept_connections import DirectConnector
from maven_channel_wecom.transport.passage import Broken, Passage, PassingRequest
from maven_channel_wecom.transport.plain_url import read_url
from maven_channel_wecom.transport.proxy import SOCKS_SCHEMES, read_proxy
from maven_channel_wecom.transport.resolving import JudgingResolver
from maven_channel_wecom.transport.short_post import ShortPost, read_up_to

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.abc import AbstractResolver
    from yarl import URL

    from maven_channel_wecom.errors import AnswerLost, RequestNotSent
    from maven_channel_wecom.transport.socks import SocksConnector

CONNECT_SECONDS: Final = 5.0
"""For name, connection, proxy and TLS together. The hosts we talk to answer in milliseconds or not at all."""

KEEPALIVE_SECONDS: Final = 10.0
"""Shorter than servers' own limits: a request on a connection just closed over there counts as lost, not as unsent."""

_Answer = TypeVar("_Answer")


class Egress:
    """Sends requests under one set of rules, with one pool of connections.

    Args:
        proxy: URL of an http, https, socks5 or socks5h proxy, with user and password if it wants them.
        allow_private_network: lets requests reach addresses that are not public.
        resolver: looks up names; aiohttp's own by default.
        socket_factory: makes the socket for each connection that is not to a SOCKS proxy.
        tls: whom to trust, for hosts and https proxies alike; the system's authorities by default.
        connect_seconds: limit for making a connection.
        short_path: lets a POST go without aiohttp's session where no http proxy is on the way.

    Raises:
        ConfigError: the proxy is not usable.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        allow_private_network: bool = False,
        resolver: AbstractResolver | None = None,
        socket_factory: Callable[[aiohttp.AddrInfoType], socket.socket] | None = None,
        tls: ssl.SSLContext | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        short_path: bool = True,
    ) -> None:
        self._proxy = read_proxy(proxy) if proxy else None
        self._allow_private_network = allow_private_network
        self._given_resolver = resolver
        self._socket_factory = socket_factory or _new_socket
        self._tls: ssl.SSLContext | bool = tls or True
        self._connect_seconds = connect_seconds
        self._own_resolver: AbstractResolver | None = None
        self._short_path = short_path
        self._opened: tuple[aiohttp.ClientSession, ShortPost] | None = None
        self._closed = False
        self._socks: type[SocksConnector] | None = None
        if self._proxy is not None and self._proxy.scheme in SOCKS_SCHEMES:
            # Here, as it takes 30 ms: the first answer would have the event loop wait for it.
            from maven_channel_wecom.transport.socks import SocksConnector  # noqa: PLC0415 - only with the extra

            self._socks = SocksConnector

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        read: Callable[[aiohttp.ClientResponse], Awaitable[_Answer]],
        timeout_seconds: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        passage: Passage | None = None,
    ) -> _Answer:
        """Send one request, once, and return what `read` makes of the answer. `timeout_seconds` is for everything.

        Who is canceled meanwhile finds in `passage` whether the request left.

        Raises:
            RequestNotSent: nothing of the request left this machine.
            AnswerLost: it left, or may have, and the answer did not come in full.
        """
        target = self._judge(url)
        passage = passage or Passage()
        session, _ = self._open()

        async def send() -> _Answer:
            async with session.request(
                method,
                target,
                data=body,
                headers=headers,
                proxy=self._http_proxy,
                allow_redirects=False,
                middlewares=(passage,),
            ) as response:
                return await read(response)

        return await self._once(send(), passage, timeout_seconds)

    async def post(
        self, url: str, body: bytes, *, limit_bytes: int, timeout_seconds: float, passage: Passage | None = None
    ) -> tuple[int, bytes]:
        """POST JSON, once, and return the HTTP status and at most `limit_bytes` of the answer.

        Raises:
            RequestNotSent, AnswerLost: as from `exchange`, and `passage` is as there.
        """
        if not self._short_path or self._http_proxy is not None:

            async def read(response: aiohttp.ClientResponse) -> tuple[int, bytes]:
                return response.status, await read_up_to(limit_bytes, response.content)

            headers = {"Content-Type": "application/json"}
            return await self.exchange(
                "POST", url, read=read, timeout_seconds=timeout_seconds, body=body, headers=headers, passage=passage
            )
        target = self._judge(url)
        passage = passage or Passage()
        _, short_post = self._open()
        sending = short_post.post(target, body, passage=passage, limit_bytes=limit_bytes)
        return await self._once(sending, passage, timeout_seconds)

    async def _once(self, sending: Awaitable[_Answer], passage: Passage, timeout_seconds: float) -> _Answer:
        # The error is raised outside of `except`, or its context would hold aiohttp's, and that the URL.
        try:
            async with asyncio.timeout(timeout_seconds):
                return await sending
        except Broken as broken:
            failure = self._failure(broken.__cause__ or broken, passage)
        except WeComError:
            # What `read` makes of an answer.
            raise
        except Exception as error:  # noqa: BLE001 - below aiohttp all kinds come up: AttributeError from asyncio of 3.11.2
            failure = self._failure(error, passage)
        raise failure

    async def close(self) -> None:
        """Close every connection. Requests after this are not sent."""
        self._closed = True
        if self._opened is not None:
            await self._opened[0].close()
        if self._own_resolver is not None:
            await self._own_resolver.close()

    @property
    def _http_proxy(self) -> URL | None:
        return self._proxy if self._proxy is not None and self._proxy.scheme not in SOCKS_SCHEMES else None

    def _judge(self, url: str) -> URL:
        """Read a URL without changing a byte of it, as its signature covers them.

        Raises:
            RequestNotSent: it is not a plain URL, or must not be asked of a proxy.
        """
        target = read_url(url)
        if target is None:
            raise not_sent(reason="bad_url")
        if self._allow_private_network or self._proxy is None:
            return target
        # Without a proxy every address is judged when its socket is made, which sees more than any name tells.
        if addresses.is_forbidden_host(target.raw_host or ""):
            raise not_sent(reason="forbidden_address")
        return target

    def _failure(self, error: BaseException, passage: Passage) -> RequestNotSent | AnswerLost:
        if passage.left:
            return lost("timeout" if isinstance(error, TimeoutError) else "reset")
        proxy = self._http_proxy
        where = (proxy.raw_host or "", proxy.port or 0) if proxy is not None else None
        return not_sent(not_sent_reason(error, http_proxy=where))

    def _open(self) -> tuple[aiohttp.ClientSession, ShortPost]:
        if self._closed:
            raise not_sent(reason="connect")
        if self._opened is None:
            connector = self._new_connector()
            timeout = aiohttp.ClientTimeout(total=None, connect=self._connect_seconds)
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=PassingRequest,
                trust_env=False,
            )
            self._opened = session, ShortPost(connector, timeout)
        return self._opened

    def _new_connector(self) -> aiohttp.TCPConnector:
        names = self._given_resolver
        if names is None:
            names = self._own_resolver = aiohttp.DefaultResolver()
        if self._proxy is not None and self._socks is not None:
            return self._socks(
                self._proxy,
                resolver=JudgingResolver(names, self._is_forbidden) if self._proxy.scheme == "socks5" else None,
                ssl=self._tls,
                keepalive_timeout=KEEPALIVE_SECONDS,
            )
        return DirectConnector(
            resolver=JudgingResolver(names, self._is_forbidden),
            socket_factory=self._make_socket,
            ssl=self._tls,
            keepalive_timeout=KEEPALIVE_SECONDS,
        )

    def _make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        if self._is_forbidden(str(address[4][0])):
            raise ForbiddenAddress
        return self._socket_factory(address)

    def _is_forbidden(self, address: str) -> bool:
        # With an http proxy the only address we connect to is the proxy's, which the operator chose.
        if self._allow_private_network or self._http_proxy is not None:
            return False
        return addresses.is_forbidden(address)


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    return socket.socket(family, kind, protocol)
