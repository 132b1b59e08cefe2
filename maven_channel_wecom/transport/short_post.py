"""A POST in fewer steps, over the connections of aiohttp's own connector: what is judged there is judged for it too.

Redirects, cookies, streams and retries are what aiohttp's session and its requests are for, and most of what they cost.
A reply has none of them, so its request is written and its answer read on the connection itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from yarl import URL

    from maven_channel_wecom.transport.passage import Passage

_SWITCHING_PROTOCOLS: Final = 101


class ShortPost:
    """POSTs JSON through a connector that belongs to somebody else.

    Args:
        connector: makes and keeps the connections.
        timeout: of which `connect` counts.
    """

    def __init__(self, connector: aiohttp.BaseConnector, timeout: aiohttp.ClientTimeout) -> None:
        self._connector = connector
        self._timeout = timeout
        self._wanted: tuple[str, str] | None = None
        self._towards: tuple[aiohttp.ClientRequest, str] | None = None

    async def post(self, url: URL, body: bytes, *, passage: Passage, limit_bytes: int) -> tuple[int, bytes]:
        """POST once and return the HTTP status and at most `limit_bytes` of the answer; raises what aiohttp raises."""
        request, fields = self._request(url)
        # What is sent in one turn of the event loop is sent together, when all that leads there is done: between system
        # calls the processor forgets what the last reply taught it.
        await asyncio.sleep(0)
        connection = await self._connector.connect(request, traces=[], timeout=self._timeout)
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            raise ConnectionResetError
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            head = f"POST {url.raw_path_qs} HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
            passage.left = True
            protocol.transport.write(head.encode() + body)
            status, content = await _final(protocol)
            answer = await read_up_to(limit_bytes, content)
        except BaseException:
            connection.close()
            raise
        # Closed instead of kept when there is more on it, or either side wants it so.
        connection.release()
        return status, answer

    def _request(self, url: URL) -> tuple[aiohttp.ClientRequest, str]:
        """Return a request that says to the connector where to connect, and its header fields; the last, mostly."""
        wanted = (url.scheme, url.raw_authority)
        if self._towards is None or self._wanted != wanted:
            request = aiohttp.ClientRequest(
                "POST",
                url.origin(),
                headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
                loop=asyncio.get_running_loop(),
            )
            fields = (f"{name}: {value}\r\n" for name, value in request.headers.items() if name != "Content-Length")
            self._wanted = wanted
            self._towards = request, "".join(fields)
        return self._towards


async def read_up_to(limit_bytes: int, content: aiohttp.StreamReader) -> bytes:
    """Return the beginning of an answer."""
    answer = b""
    while len(answer) < limit_bytes and not content.at_eof():
        answer += await content.read(limit_bytes - len(answer))
    return answer


async def _final(protocol: ResponseHandler) -> tuple[int, aiohttp.StreamReader]:
    """Return status and content of the answer itself; informational ones may come before it."""
    while True:
        message, content = await protocol.read()
        if message.code >= 200 or message.code == _SWITCHING_PROTOCOLS:  # noqa: PLR2004 - the classes of RFC 9110
            return message.code, content
