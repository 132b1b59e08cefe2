"""How the doctor tries a proxy: a connection to it, and a request through it as the channel sends them."""

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

    from maven_channel_wecom.doctor.checks import ProxySeen
    from maven_channel_wecom.doctor.probing import UrlProbe
    from maven_channel_wecom.doctor.url_check import UrlCheck

_OK: Final = 200
_WRONG_CREDENTIALS: Final = 407

_NOT_SENT: Final[dict[str, ProxySeen]] = {"tls": "breaks_tls", "connect_timeout": "too_slow"}


async def connect_to_proxy(proxy: str) -> ProxySeen:
    """Connect to a proxy, say nothing, and hang up."""
    url = read_proxy(proxy)
    port = url.port or (SOCKS_PORT if url.scheme in SOCKS_SCHEMES else 0)
    try:
        async with asyncio.timeout(PROBE_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(url.host, port)
    except TimeoutError:
        return "timeout"
    except (socket.gaierror, UnicodeError):
        return "no_name"
    except OSError:
        return "refused"
    writer.transport.abort()
    return "answers"


async def ask_through_proxy(proxy: str, probe: UrlProbe, url: URL, check: UrlCheck) -> ProxySeen:
    """Send a URL check to the public address through the proxy, with the class that sends replies.

    The operator named the address, so it may be a private one.
    """

    async def read(response: aiohttp.ClientResponse) -> ProxySeen:
        body = await read_up_to(len(check.echo) + 1, response)
        if response.status == _WRONG_CREDENTIALS:
            return "refuses"
        return "carries" if (response.status, body) == (_OK, check.echo) else "rewrites"

    egress = Egress(proxy=proxy, allow_private_network=True, resolver=probe.resolver, tls=probe.tls)
    try:
        return await egress.get(str(with_query(url, check.query)), read=read, timeout_seconds=probe.answer_seconds)
    except RequestNotSent as failure:
        return _NOT_SENT.get(failure.reason, "refuses")
    except AnswerLost:
        return "loses"
    finally:
        await egress.close()
