"""Probes a proxy: connects to it, and sends a request through it as the channel does."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.doctor.probing import PROBE_CONNECT_SECONDS, with_query
from maven_channel_wecom.egress.egress import Egress, read_up_to
from maven_channel_wecom.egress.proxy import SOCKS_PORT, SOCKS_SCHEMES, read_proxy
from maven_channel_wecom.errors import AnswerLost, RequestNotSent

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

    from maven_channel_wecom.doctor.checks import ProxyFinding
    from maven_channel_wecom.doctor.probing import UrlProbe
    from maven_channel_wecom.doctor.url_check import UrlCheck

_OK: Final = 200
_WRONG_CREDENTIALS: Final = 407

_NOT_SENT: Final[dict[str, ProxyFinding]] = {"tls": "tls_failed", "connect_timeout": "too_slow"}


async def connect_to_proxy(proxy: str) -> ProxyFinding:
    """Connect to a proxy and close the connection without sending anything."""
    url = read_proxy(proxy)
    port = url.port or (SOCKS_PORT if url.scheme in SOCKS_SCHEMES else 0)
    try:
        async with asyncio.timeout(PROBE_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(url.host, port)
    except TimeoutError:
        return "timeout"
    except (socket.gaierror, UnicodeError):
        return "unresolved"
    except OSError:
        return "unreachable"
    writer.transport.abort()
    return "accepts"


async def send_through_proxy(proxy: str, probe: UrlProbe, url: URL, check: UrlCheck) -> ProxyFinding:
    """Send a URL check to the public address through the proxy, with the class that sends replies.

    The address may be a private one, because the operator named it.
    """

    async def read(response: aiohttp.ClientResponse) -> ProxyFinding:
        body = await read_up_to(len(check.echo) + 1, response)
        if response.status == _WRONG_CREDENTIALS:
            return "denied"
        return "works" if (response.status, body) == (_OK, check.echo) else "wrong_answer"

    egress = Egress(proxy=proxy, allow_private_network=True, resolver=probe.resolver, tls=probe.tls)
    try:
        return await egress.get(str(with_query(url, check.query)), read=read, timeout_seconds=probe.answer_seconds)
    except RequestNotSent as failure:
        return _NOT_SENT.get(failure.reason, "denied")
    except AnswerLost:
        return "no_answer"
    finally:
        await egress.close()
