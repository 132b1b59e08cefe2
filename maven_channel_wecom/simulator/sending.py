"""The wire towards the bot: plain HTTP requests, timed, as many at once as asked for. What they mean is in `wecom`."""

from __future__ import annotations

import asyncio
import io
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

# Closing idle connections before the bot does avoids sending into one that is just being closed.
_IDLE_SECONDS = 1.0
_MAX_ANSWER_BYTES = 1_048_576


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. `status` is 0 when nothing did; `timed_out` when there was a connection and no answer in time."""

    status: int
    body: bytes = b""
    elapsed_seconds: float = 0.0
    timed_out: bool = False

    def __repr__(self) -> str:
        return f"<HttpAnswer {self.status}, {len(self.body)} bytes>"


class Wire:
    """Sends requests to a bot, following no redirect, at most `connections` at a time."""

    def __init__(self, connections: int) -> None:
        # Waiting for a free slot is not the bot's time, so it is done here and not in the connector.
        self._slots = asyncio.Semaphore(connections)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
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
        """Send one request with an encoded query as it is, and wait `within_seconds` for the whole answer."""
        if query:
            url += ("&" if urlsplit(url).query else "?") + query
        async with self._slots:
            started = time.perf_counter()
            try:
                async with self._session.request(
                    method,
                    URL(url, encoded=True),
                    # aiohttp warns of large bytes, and takes the same from a buffer.
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
    """Send bytes that need not be HTTP to the host of a URL, and return what comes back until the other side closes.

    What came before the time was over is returned, so a bot that keeps the connection open is no error.
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


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """Read no more than WeCom could have a use for; the rest is dropped with the connection."""
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > _MAX_ANSWER_BYTES:
            response.close()
            break
    return bytes(received[:_MAX_ANSWER_BYTES])
