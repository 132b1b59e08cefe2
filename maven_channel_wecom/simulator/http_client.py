"""Sends HTTP requests and raw bytes to the bot. It measures the time of an answer and does not judge it."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

# Closing idle connections before the bot does avoids requests on a connection that is just being closed.
_IDLE_SECONDS = 1.0
_MAX_ANSWER_BYTES = 1_048_576


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request. `status` is 0 if none arrived; `timed_out` is whether the timeout was the reason."""

    status: int
    body: bytes = b""
    elapsed_seconds: float = 0.0
    timed_out: bool = False

    def __repr__(self) -> str:
        return f"<HttpAnswer {self.status}, {len(self.body)} bytes>"


class BotClient:
    """Sends requests to a bot, at most `connections` at a time, without following redirects."""

    def __init__(self, connections: int) -> None:
        # A limit of the connector would count the wait for a free slot as the bot's time.
        self._slots = asyncio.Semaphore(connections)
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), limit=0, keepalive_timeout=_IDLE_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def request(
        self,
        method: str,
        url: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        within_seconds: float,
    ) -> HttpAnswer:
        """Send one request, with `query` already encoded, and wait at most `within_seconds` for the whole answer."""
        if query:
            url += ("&" if urlsplit(url).query else "?") + query
        async with self._slots:
            started = time.perf_counter()
            try:
                async with self._session.request(
                    method,
                    URL(url, encoded=True),
                    # aiohttp warns about large bytes objects, but not about a buffer.
                    data=io.BytesIO(body) if body else None,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=within_seconds),
                ) as response:
                    received = await _read_capped(response)
                    elapsed = time.perf_counter() - started
                    return HttpAnswer(status=response.status, body=received, elapsed_seconds=elapsed)
            except TimeoutError:
                return HttpAnswer(status=0, elapsed_seconds=time.perf_counter() - started, timed_out=True)
            except (aiohttp.ClientError, OSError):
                return HttpAnswer(status=0, elapsed_seconds=time.perf_counter() - started)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


async def send_bytes(url: str, data: bytes, *, within_seconds: float) -> bytes:
    """Send any bytes to the host of a URL, and return what the other side sends until it closes the connection.

    After `within_seconds`, return what has arrived: a bot may keep the connection open.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    received = bytearray()
    try:
        async with asyncio.timeout(within_seconds):
            writer.write(data)
            await writer.drain()
            while chunk := await reader.read(_MAX_ANSWER_BYTES):
                received += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return bytes(received)


async def cut_request(url: str, *, query: str, body: bytes) -> None:
    """Send the first half of a POST to a URL and reset the connection, so that the request never arrives whole.

    Nothing happens if no connection can be made.
    """
    parts = urlsplit(url)
    head = f"POST {parts.path}?{query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        writer.write(head.encode() + body[: len(body) // 2])
        await writer.drain()
    except OSError:
        return
    # Without lingering, closing sends RST instead of FIN.
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """Read at most 1 MiB of the body; close the connection if there is more."""
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > _MAX_ANSWER_BYTES:
            response.close()
            break
    return bytes(received[:_MAX_ANSWER_BYTES])
