"""Clients that send genuine callbacks over plain connections and measure the time to the acknowledgement."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from maven_channel_wecom.simulator.callbacks import seal_callback

if TYPE_CHECKING:
    from maven_channel_wecom.protocol.envelope import Credentials

WECOM_TIMEOUT_SECONDS = 5.0
"""Maximum time that WeCom waits for an acknowledgement."""

_SEGMENT_DELAY_SECONDS = 0.002
"""Delay between two segments of one request. Lower: the server may read both at once. Higher: the delay hides the time
that the server takes."""

_MAX_IDLE_CONNECTIONS = 8


def sealed_text(
    credentials: Credentials,
    url: str,
    *,
    message_id: str,
    text: str,
    response_url: str = "",
    user: str = "",
    group: str = "",
) -> bytes:
    """Return the complete HTTP request of one text message. The echo agent gives a blank text no answer."""
    parts = urlsplit(url)
    message = {"msgid": message_id, "aibotid": "aib1", "from": {"userid": user or message_id[-3:]}}
    message |= {"chattype": "group", "chatid": group} if group else {"chattype": "single"}
    message |= {"response_url": response_url, "msgtype": "text", "text": {"content": text}}
    sealed = seal_callback(
        msgspec.json.encode(message), credentials, receive_id="", timestamp=int(time.time()), random=os.urandom
    )
    head = (
        f"POST {parts.path}?{sealed.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(sealed.body)}\r\n\r\n"
    )
    return head.encode() + sealed.body


class Connection:
    """One TCP connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    @property
    def closed(self) -> bool:
        """Whether the gateway closed the connection, as it may while idle. HTTP clients check this before reuse."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def call(self, request: bytes, *, segments: int = 1) -> bytes:
        """Send a request in `segments` parts and return the head of its answer. Raises TimeoutError or OSError."""
        size = -(-len(request) // segments)
        async with asyncio.timeout(WECOM_TIMEOUT_SECONDS):
            self._writer.write(request[:size])
            for start in range(size, len(request), size):
                await asyncio.sleep(_SEGMENT_DELAY_SECONDS)
                self._writer.write(request[start : start + size])
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
                await self._reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            except EOFError as error:
                raise ConnectionResetError from error
        return head

    def close(self) -> None:
        self._writer.close()


@dataclass(kw_only=True)
class CallStats:
    """The time of each call, and the numbers of failed calls and of calls repeated on another connection."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    repeated: int = 0

    @property
    def p99_seconds(self) -> float:
        return self._quantile(0.99)

    @property
    def p999_seconds(self) -> float:
        return self._quantile(0.999)

    @property
    def longest_seconds(self) -> float:
        return max(self.seconds, default=math.inf)

    def _quantile(self, share: float) -> float:
        """Return the time within which this share of the calls ended; infinity if there were no calls."""
        if len(self.seconds) < 2:
            return self.longest_seconds
        return statistics.quantiles(self.seconds, n=1000, method="inclusive")[round(share * 1000) - 1]


class GoodCallers:
    """Clients that call at a steady rate, half of the time on a new connection, else on an idle one if there is one.

    Each request is sent in `segments` parts.
    """

    def __init__(self, credentials: Credentials, url: str, *, segments: int = 1) -> None:
        self._credentials = credentials
        self._url = url
        self._segments = segments
        self._idle: list[Connection] = []

    async def call(self, *, seconds: float, per_second: float) -> CallStats:
        """Call for `seconds`."""
        calls, loop = CallStats(), asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * per_second)):
                await asyncio.sleep(max(0.0, started + number / per_second - loop.time()))
                group.create_task(self._call_once(calls, reuse=number % 2 == 0))
        return calls

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    def _pop_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop(0)
            if not connection.closed:
                return connection
            connection.close()
        return None

    async def _call_once(self, calls: CallStats, *, reuse: bool) -> None:
        request = sealed_text(self._credentials, self._url, message_id=os.urandom(12).hex(), text=" ")
        started = time.perf_counter()
        try:
            connection, head = await self._send(calls, request, self._pop_idle() if reuse else None)
        except (TimeoutError, OSError):
            calls.failed += 1
            return
        calls.seconds.append(time.perf_counter() - started)
        calls.failed += not head.startswith(b"HTTP/1.1 200 ")
        if reuse and len(self._idle) < _MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    async def _send(self, calls: CallStats, request: bytes, idle: Connection | None) -> tuple[Connection, bytes]:
        """Return the connection that was used and the head of the answer.

        The gateway may have closed an idle connection before the request reached it. In that case the request is sent
        once more on a new connection (RFC 9112 9.3.1). A callback that arrives twice is admitted once.
        """
        if idle is not None:
            try:
                return idle, await idle.call(request, segments=self._segments)
            except TimeoutError:
                idle.close()
                raise
            except OSError:
                idle.close()
                calls.repeated += 1
        connection = await Connection.open(self._url)
        try:
            return connection, await connection.call(request, segments=self._segments)
        except OSError:
            connection.close()
            raise
