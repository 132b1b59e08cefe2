"""Sends every reply and every download, so that no request can bypass the rules.

No request reaches an address that is not public, unless private networks are allowed. No request bypasses the
configured proxy, follows a redirect or is sent twice.
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp
from yarl import URL

from maven_channel_wecom.egress import addresses
from maven_channel_wecom.egress.reasons import ForbiddenAddress, lost, not_connected, not_sent, proxy_unusable
from maven_channel_wecom.egress.resolver import FilteringResolver
from maven_channel_wecom.errors import WeComError
from maven_channel_wecom.transport.answer_limit import AnswerLimitConnector
from maven_channel_wecom.transport.proxy import SOCKS_SCHEMES, read_proxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from types import SimpleNamespace

    from aiohttp.abc import AbstractResolver

    from maven_channel_wecom.errors import AnswerLost, RequestNotSent
    from maven_channel_wecom.transport.socks import SocksConnector

CONNECT_SECONDS: Final = 5.0
"""Maximum time for name lookup, connection, proxy and TLS together. WeCom's hosts answer in milliseconds or not at all.
Lower: requests through a slow proxy fail. Higher: a reply waits longer for its next attempt."""

ANSWER_BYTES: Final = 64 * 1024
"""Maximum number of bytes read from the answer to a POST. WeCom's is below 1 KiB; a longer one is a proxy's page."""

# Some parsers read a backslash as a slash, so a proxy could see another host than aiohttp does.
_PLAIN_URL: Final = re.compile(r"[!-\[\]-~]+")

# aiohttp would also put `close` into a CONNECT request, and a proxy that takes it literally would close the tunnel.
_CONNECT_HEADERS: Final = {"Connection": "keep-alive"}

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class SendProgress:
    """How far one request got. `left` is True once it has a connection, and thus may have left this machine."""

    left: bool = False


class Egress:
    """Sends requests under one set of rules, each on its own connection.

    Connections are not reused: bytes that a server sent unasked could be read as the answer to the next request, and a
    request on a connection that the server has just closed would count as lost. Their number is limited by the callers:
    aiohttp would count the time that a request waits for others as time to connect.

    Args:
        proxy: URL of an http, https, socks5 or socks5h proxy, with user and password if it requires them.
        allow_private_network: whether requests may reach addresses that are not public.
        resolver: resolves names; by default the system's resolver, in a thread.
        socket_factory: creates the socket of each connection, except to a SOCKS proxy.
        tls: the trusted authorities, for hosts and https proxies alike; by default the system's.
        connect_seconds: maximum time to make a connection.

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
    ) -> None:
        self._proxy = read_proxy(proxy) if proxy else None
        is_socks = self._proxy is not None and self._proxy.scheme in SOCKS_SCHEMES
        self._http_proxy = None if is_socks else self._proxy
        self._allow_private_network = allow_private_network
        self._resolver = resolver
        self._socket_factory = socket_factory or _new_socket
        self._tls: ssl.SSLContext | bool = tls or True
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._socks_connector: type[SocksConnector] | None = None
        if is_socks:
            # Needs an extra. Imported at start because that takes 30 ms, which would delay the first reply.
            from maven_channel_wecom.transport.socks import SocksConnector  # noqa: PLC0415 - see above

            self._socks_connector = SocksConnector

    async def post(
        self, url: str, body: bytes, *, timeout_seconds: float, progress: SendProgress | None = None
    ) -> tuple[int, bytes]:
        """POST JSON once, and return the HTTP status and at most 64 KiB of the answer.

        Args:
            url: requested without changing a byte.
            body: the JSON.
            timeout_seconds: maximum time for the whole request.
            progress: records whether the request left, even if the call is cancelled.

        Raises:
            RequestNotSent: nothing of the request left this machine.
            AnswerLost: the request left, or may have left, and no complete answer arrived.
        """

        async def read(response: aiohttp.ClientResponse) -> tuple[int, bytes]:
            return response.status, await read_up_to(ANSWER_BYTES, response)

        return await self._request(
            "POST",
            url,
            read=read,
            timeout_seconds=timeout_seconds,
            progress=progress or SendProgress(),
            body=body,
        )

    async def get(
        self, url: str, *, read: Callable[[aiohttp.ClientResponse], Awaitable[_Answer]], timeout_seconds: float
    ) -> _Answer:
        """GET once, and return what `read` returns for the answer. A WeComError that it raises is passed on unchanged.

        Raises:
            RequestNotSent, AnswerLost: as from `post`.
        """
        return await self._request("GET", url, read=read, timeout_seconds=timeout_seconds, progress=SendProgress())

    async def close(self) -> None:
        """Close every connection. Later requests raise RequestNotSent."""
        self._closed = True
        if self._session is not None:
            connector = self._session.connector
            await self._session.close()
            if isinstance(connector, AnswerLimitConnector):
                await connector.abort_all()

    async def _request(
        self,
        method: str,
        url: str,
        *,
        read: Callable[[aiohttp.ClientResponse], Awaitable[_Answer]],
        timeout_seconds: float,
        progress: SendProgress,
        body: bytes | None = None,
    ) -> _Answer:
        target = self._check_url(url)
        session = self._get_session()
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                session.request(
                    method,
                    target,
                    data=body,
                    headers={"Content-Type": "application/json"} if body is not None else None,
                    proxy=self._http_proxy,
                    proxy_headers=_CONNECT_HEADERS,
                    allow_redirects=False,
                    trace_request_ctx=progress,
                ) as response,
            ):
                self._check_proxy_answer(target, response.status)
                return await read(response)
        except WeComError:
            raise
        except _NotRetriedError as failed:
            failure = self._error_for(failed.__cause__ or failed, target, progress)
        except Exception as error:  # noqa: BLE001 - aiohttp passes on what asyncio and ssl raise, even AttributeError
            failure = self._error_for(error, target, progress)
        # Raised outside `except`, where its context would be aiohttp's error, which contains the URL.
        raise failure

    def _check_url(self, url: str) -> URL:
        """Return the URL for aiohttp, if it may be requested.

        Raises:
            RequestNotSent: the URL is not plain, or the proxy must not be asked for its host.
        """
        target = _parse_plain_url(url)
        if target is None:
            raise not_sent(reason="bad_url")
        if self._proxy is None or self._allow_private_network:
            # Without a proxy, the address itself is checked when its socket is created, which is stricter.
            return target
        if addresses.is_forbidden_host(target.raw_host or ""):
            raise not_sent(reason="forbidden_address")
        return target

    def _check_proxy_answer(self, target: URL, status: int) -> None:
        """Raise RequestNotSent if an answer certainly comes from an http proxy and not from the host.

        The proxy forwards a request to a plain http URL itself. Any status but 407 may be the host's, or a gateway's
        before it. Requests to https URLs pass through a tunnel.
        """
        refused = status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        if refused and self._http_proxy is not None and target.scheme == "http":
            raise proxy_unusable(failure="credentials")

    def _error_for(self, error: BaseException, target: URL, progress: SendProgress) -> RequestNotSent | AnswerLost:
        if not progress.left:
            return not_connected(error, proxy=self._proxy)
        if self._http_proxy is not None and target.scheme == "http" and isinstance(error, aiohttp.ClientResponseError):
            # What does not answer in HTTP does not forward HTTP requests.
            return proxy_unusable("not_http")
        return lost("timeout" if isinstance(error, TimeoutError) else "reset")

    def _get_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise not_sent(reason="connect")
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_record_connection)
            self._session = aiohttp.ClientSession(
                connector=self._new_connector(),
                timeout=self._timeout,
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_prevent_retry,),
                trace_configs=[trace],
                trust_env=False,
            )
        return self._session

    def _new_connector(self) -> aiohttp.BaseConnector:
        resolver = FilteringResolver(self._resolver or aiohttp.ThreadedResolver(), self._is_forbidden)
        if self._proxy is not None and self._socks_connector is not None:
            by_address = self._proxy.scheme == "socks5"
            return self._socks_connector(self._proxy, resolver=resolver if by_address else None, ssl=self._tls)
        return _TcpConnector(
            resolver=resolver, socket_factory=self._make_socket, ssl=self._tls, force_close=True, limit=0
        )

    def _make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        if self._is_forbidden(str(address[4][0])):
            raise ForbiddenAddress
        return self._socket_factory(address)

    def _is_forbidden(self, address: str) -> bool:
        # With an http proxy, we connect only to the proxy's address, which the operator chose.
        if self._allow_private_network or self._http_proxy is not None:
            return False
        return addresses.is_forbidden(address)


class _TcpConnector(AnswerLimitConnector, aiohttp.TCPConnector):
    """Opens connections to the host, or to an http or https proxy."""


async def read_up_to(limit_bytes: int, response: aiohttp.ClientResponse) -> bytes:
    """Return at most `limit_bytes` from the beginning of an answer's body."""
    body = b""
    while len(body) < limit_bytes and (chunk := await response.content.read(limit_bytes - len(body))):
        body += chunk
    return body


class _NotRetriedError(Exception):
    """Carries an error, as its cause, past aiohttp, which would repeat a GET after some errors."""


async def _prevent_retry(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except Exception as error:
        raise _NotRetriedError from error


async def _record_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.left = True


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    return socket.socket(family, kind, protocol)


def _parse_plain_url(url: str) -> URL | None:
    """Parse an http or https URL without changing a byte that its signature covers. Return None if it is not plain."""
    if not _PLAIN_URL.fullmatch(url):
        return None
    try:
        target = URL(url, encoded=True)
        # yarl parses the parts lazily, and raises an IndexError for `[::1]@`.
        plain = target.raw_host and target.port and "@" not in target.raw_authority
    except (ValueError, IndexError):
        return None
    return target if plain and target.scheme in {"http", "https"} else None
