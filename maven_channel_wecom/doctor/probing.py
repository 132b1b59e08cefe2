"""Probes the network: sends one HTTP request, tests one port. `checks` and `url_check` judge the results."""

from __future__ import annotations

import asyncio
import errno
import socket
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from yarl import URL

from maven_channel_wecom.doctor.url_check import NoAnswer, UrlCheckAnswer

if TYPE_CHECKING:
    import ssl

    from aiohttp.abc import AbstractResolver

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.doctor.checks import PortFinding
    from maven_channel_wecom.doctor.url_check import NoAnswerReason

PROBE_ANSWER_SECONDS: Final = 10.0
"""Timeout for a whole request and answer, in seconds. WeCom waits one second; a longer limit shows how late the answer
is."""

PROBE_CONNECT_SECONDS: Final = 5.0
"""Timeout for a connection to a port or a proxy, in seconds."""

# The right answer has 19 bytes; the beginning of any other is enough to explain it.
_BODY_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 4096
# Where to connect to a listener on all addresses.
_WILDCARD_TO_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared with, never bound to


class _Readiness(msgspec.Struct):
    """The answer of a gateway at `/readyz`."""

    reasons: list[str]


class UrlProbe:
    """Sends URL checks as WeCom does: directly, each on a connection of its own, without following redirects.

    Args:
        clock: measures how long an answer takes, and is compared with its `Date`.
        resolver: resolves names; the system's resolver, in a thread, if None.
        tls: the trusted authorities; those of the system if None.
        answer_seconds: timeout for a whole request and answer.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
        answer_seconds: float = PROBE_ANSWER_SECONDS,
    ) -> None:
        self.clock = clock
        self.resolver = resolver
        self.tls = tls
        self.answer_seconds = answer_seconds

    async def get(self, url: URL, query: str = "") -> UrlCheckAnswer | NoAnswer:
        """Send one GET request, with `query` already encoded, and return the answer."""
        target = with_query(url, query)
        connected: list[str] = []

        def make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
            family, kind, protocol, *_ = address
            connected.append(str(address[4][0]))
            return socket.socket(family, kind, protocol)

        started = self.clock.now()
        try:
            async with (
                asyncio.timeout(self.answer_seconds),
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        resolver=self.resolver or aiohttp.ThreadedResolver(),
                        ssl=self.tls or True,
                        socket_factory=make_socket,
                    ),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": "maven-wecom-doctor", "Accept-Encoding": "identity"},
                    trust_env=False,
                ) as session,
                session.get(target, allow_redirects=False) as response,
            ):
                return await self._read(response, started, connected[-1])
        except TimeoutError:
            return NoAnswer(reason="timeout", seconds=self.answer_seconds)
        except aiohttp.ClientConnectorCertificateError as error:
            return NoAnswer(reason="certificate", certificate=getattr(error.certificate_error, "verify_code", 0))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return NoAnswer(reason=_reason(error))

    async def get_readiness(self, host: str, port: int) -> list[str] | None:
        """Return the gateway's reasons for not being ready, empty if it is ready; None if no gateway answers.

        Args:
            host: `gateway.host`.
            port: `gateway.port`.
        """
        answer = await self.get(local_url(host, port, "/readyz"))
        try:
            return None if isinstance(answer, NoAnswer) else msgspec.json.decode(answer.body, type=_Readiness).reasons
        except (ValueError, RecursionError):
            return None

    async def _read(self, response: aiohttp.ClientResponse, started: float, address: str) -> UrlCheckAnswer:
        wall = self.clock.wall()
        body = bytearray()
        while len(body) < _BODY_BYTES and (chunk := await response.content.read(_CHUNK_BYTES)):
            body += chunk
        return UrlCheckAnswer(
            status=response.status,
            body=bytes(body),
            seconds=self.clock.now() - started,
            html=response.content_type == "text/html",
            wants_login="WWW-Authenticate" in response.headers,
            location=response.headers.get("Location", ""),
            skew_seconds=_skew(response.headers.get("Date", ""), wall),
            address=address,
        )


def with_query(url: URL, query: str) -> URL:
    """Return the URL with `query`, already encoded, appended to its query."""
    if not query:
        return url
    return URL(f"{url}{'&' if url.raw_query_string else '?'}{query}", encoded=True)


def local_url(host: str, port: int, path: str) -> URL:
    """Return the URL at which this machine reaches a listener on `host`."""
    return URL.build(scheme="http", host=_WILDCARD_TO_LOOPBACK.get(host, host), port=port, path=path)


def probe_port(host: str, port: int) -> PortFinding:
    """Test a port by binding it for a moment and, if that fails, by connecting to it. Blocks, so call it in a thread.

    It never connects to another machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        return "not_local"
    try:
        with socket.socket(family, kind, protocol) as probe:
            # With it, neither this nor a gateway that starts at the same moment keeps the other from binding.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        # Without permission for a low port, only connecting shows whether it is in use.
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            return "not_local"
        if _accepts_connections(_WILDCARD_TO_LOOPBACK.get(host, host), port):
            return "accepts"
        return "in_use" if error.errno == errno.EADDRINUSE else "not_allowed"
    return "free"


def _accepts_connections(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PROBE_CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _skew(date: str, wall: float) -> float | None:
    try:
        # `Date` has whole seconds, rounded down: half a second corrects that on average.
        return parsedate_to_datetime(date).timestamp() + 0.5 - wall
    except (ValueError, OverflowError):
        return None


def _reason(error: Exception) -> NoAnswerReason:
    if isinstance(error, aiohttp.ClientConnectorDNSError | UnicodeError):
        return "name"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "refused" if error.os_error.errno == errno.ECONNREFUSED else "unreachable"
    return "not_http" if isinstance(error, aiohttp.ClientResponseError) else "broken"
