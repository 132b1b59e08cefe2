"""Probes a proxy: connects to it, and sends a request through it as the channel does."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.doctor.checks import ProxyFinding
from maven_channel_wecom.doctor.probing import PROBE_CONNECT_SECONDS, with_query
from maven_channel_wecom.egress.egress import Egress, read_up_to
from maven_channel_wecom.errors import AnswerLost, RequestNotSent
from maven_channel_wecom.transport.proxy import SOCKS_PORT, SOCKS_SCHEMES, read_proxy
from maven_channel_wecom.transport.proxy_failures import PROXY

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

    from maven_channel_wecom.doctor.probing import UrlProbe
    from maven_channel_wecom.doctor.url_check import UrlCheck
    from maven_channel_wecom.transport.proxy_failures import ProxyFailure

_OK: Final = 200

# What to send to a proxy of each protocol, and how its answer begins. A SOCKS proxy is offered both ways to log in
# (RFC 1928 3), and the request in HTTP is for the proxy itself (RFC 9110 9.3.7).
_SOCKS_GREETING: Final = (b"\x05\x02\x00\x02", b"\x05")
_HTTP_GREETING: Final = (b"OPTIONS * HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n", b"HTTP/")


async def connect_to_proxy(proxy: str, *, tls: ssl.SSLContext | None = None) -> ProxyFinding:
    """Connect to a proxy and test whether it speaks the protocol of its URL. Sends no user, password or request.

    `tls` holds the trusted authorities; those of the system if None.
    """
    url = read_proxy(proxy)
    port = url.port or (SOCKS_PORT if url.scheme in SOCKS_SCHEMES else 0)
    try:
        async with asyncio.timeout(PROBE_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(url.host, port)
    except TimeoutError:
        return ProxyFinding(kind="timeout")
    except (OSError, UnicodeError) as error:
        return _unusable("unresolved" if isinstance(error, socket.gaierror | UnicodeError) else "unreachable")
    try:
        failure = await _greet(url.scheme, reader, writer, tls)
    finally:
        writer.transport.abort()
    return ProxyFinding(kind="accepts") if failure is None else _unusable(failure)


async def _greet(
    scheme: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext | None
) -> ProxyFailure | None:
    """Return what is wrong with the protocol of a proxy, None if it is that of the scheme."""
    if scheme == "https":
        if tls is None:
            # Reads the authorities of the system.
            tls = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with asyncio.timeout(PROBE_CONNECT_SECONDS):
                await writer.start_tls(tls)
        except ssl.SSLCertVerificationError:
            return "certificate"
        except (OSError, TimeoutError):
            return "tls"
    if scheme in SOCKS_SCHEMES:
        return None if await _answers(reader, writer, *_SOCKS_GREETING) else "not_socks"
    return None if await _answers(reader, writer, *_HTTP_GREETING) else "not_http"


async def _answers(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: bytes, beginning: bytes
) -> bool:
    """Return whether the other side answers `greeting` with something that begins with `beginning`, in time."""
    try:
        async with asyncio.timeout(PROBE_CONNECT_SECONDS):
            writer.write(greeting)
            return await reader.readexactly(len(beginning)) == beginning
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def send_through_proxy(proxy: str, probe: UrlProbe, url: URL, check: UrlCheck) -> ProxyFinding:
    """Send a URL check to the public address through the proxy, with the class that sends replies.

    The address may be a private one, because the operator named it.
    """

    async def read(response: aiohttp.ClientResponse) -> ProxyFinding:
        body = await read_up_to(len(check.echo) + 1, response)
        return ProxyFinding(kind="works" if (response.status, body) == (_OK, check.echo) else "wrong_answer")

    egress = Egress(proxy=proxy, allow_private_network=True, resolver=probe.resolver, tls=probe.tls)
    try:
        return await egress.get(str(with_query(url, check.query)), read=read, timeout_seconds=probe.answer_seconds)
    except RequestNotSent as failure:
        if failure.reason == "connect_timeout":
            return ProxyFinding(kind="too_slow")
        return ProxyFinding(kind="tls_failed") if failure.reason == "tls" else _failed(str(failure))
    except AnswerLost:
        return ProxyFinding(kind="no_answer")
    finally:
        await egress.close()


def _unusable(failure: ProxyFailure) -> ProxyFinding:
    return _failed(PROXY[failure])


def _failed(sentence: str) -> ProxyFinding:
    return ProxyFinding(kind="unusable", detail=sentence)
