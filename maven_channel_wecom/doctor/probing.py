"""The edges of the doctor towards the network: one HTTP request, one look at a port. Judges nothing."""

from __future__ import annotations

import asyncio
import errno
import socket
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from yarl import URL

from maven_channel_wecom.doctor.url_check import Answer, NoAnswer

if TYPE_CHECKING:
    import ssl

    from aiohttp.abc import AbstractResolver

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.doctor.checks import PortSeen
    from maven_channel_wecom.doctor.url_check import NoAnswerReason

PROBE_ANSWER_SECONDS: Final = 10.0
"""For a whole exchange. WeCom waits one; what takes longer than this is told as no answer."""

PROBE_CONNECT_SECONDS: Final = 5.0

# An echo has some twenty bytes; of what is not one, the beginning tells enough.
_BODY_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 4096
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to find who listens on all of them


class _Readiness(msgspec.Struct):
    """What a gateway says at `/readyz`."""

    reasons: list[str]


class UrlProbe:
    """Sends URL checks: each on a connection of its own, no redirect followed, no proxy used, as WeCom comes directly.

    Args:
        clock: times the exchange, and is compared with the `Date` of the answer.
        resolver: looks up names; aiohttp's own by default.
        tls: whom to trust; the system's authorities by default.
        answer_seconds: limit for a whole exchange.
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

    async def ask(self, url: URL, query: str = "") -> Answer | NoAnswer:
        """Send one GET with a query that is encoded already, and return what came."""
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
                        resolver=self.resolver, ssl=self.tls or True, socket_factory=make_socket
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

    async def ask_readiness(self, host: str, port: int) -> list[str] | None:
        """Return why the gateway says it is not ready, nothing when it is; None when nobody answers as a gateway does.

        Args:
            host: `gateway.host`.
            port: `gateway.port`.
        """
        answer = await self.ask(local_url(host, port, "/readyz"))
        try:
            return msgspec.json.decode(answer.body, type=_Readiness).reasons if isinstance(answer, Answer) else None
        except (ValueError, RecursionError):
            return None

    async def _read(self, response: aiohttp.ClientResponse, started: float, address: str) -> Answer:
        wall = self.clock.wall()
        body = bytearray()
        while len(body) < _BODY_BYTES and (chunk := await response.content.read(_CHUNK_BYTES)):
            body += chunk
        return Answer(
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
    """Return a URL with a query that is encoded already at its end."""
    if not query:
        return url
    return URL(f"{url}{'&' if url.raw_query_string else '?'}{query}", encoded=True)


def local_url(host: str, port: int, path: str) -> URL:
    """Return where a listener on `host` is found from this machine."""
    return URL.build(scheme="http", host=_ANY_ADDRESS.get(host, host), port=port, path=path)


def probe_port(host: str, port: int) -> PortSeen:
    """Look at who listens, by binding for a moment and then by connecting. For a thread: it waits.

    An address that is not of this machine is never connected to.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        return "not_here"
    try:
        with socket.socket(family, kind, protocol) as probe:
            # A gateway that starts at this moment is not in the way of this one, nor the reverse.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        # Without the right to a low port, only connecting tells whether somebody has it.
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            return "not_here"
        if _connects(_ANY_ADDRESS.get(host, host), port):
            return "answers"
        return "silent" if error.errno == errno.EADDRINUSE else "not_allowed"
    return "free"


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PROBE_CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _skew(date: str, wall: float) -> float | None:
    try:
        # Whole seconds, cut off: half a one is right on average.
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
