"""Good callers, close to the wire: a sealed text, a connection, the time an acknowledgement takes."""

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
"""How long WeCom waits for an acknowledgement."""

_SEGMENT_DELAY_SECONDS = 0.002
"""Between two segments of one request. Lower: both may be read at once. Higher: hides how long the server takes."""

_KEPT_CONNECTIONS = 8


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
    """Return the whole HTTP request of one text message; a blank one has an agent say nothing."""
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


class Line:
    """One connection to a gateway; closes with `close`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Line:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    @property
    def closed(self) -> bool:
        """Whether the gateway closed it, as it may while nothing is asked. HTTP clients look before they reuse one."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def call(self, request: bytes, *, segments: int = 1) -> bytes:
        """Send a request in that many segments and return the head of its answer. TimeoutError or OSError."""
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
class Calls:
    """How long each acknowledgement took, how many callbacks got none, and how many were sent on another connection."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    repeated: int = 0

    @property
    def p90_seconds(self) -> float:
        return self._quantile(0.90)

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
        """Return the time that this share of the calls stayed below; infinity when there were none."""
        if len(self.seconds) < 2:
            return self.longest_seconds
        return statistics.quantiles(self.seconds, n=1000, method="inclusive")[round(share * 1000) - 1]


class GoodCallers:
    """Call at a steady rate: every other time on a connection of its own, else on one that is kept.

    Each request comes in so many `segments`.
    """

    def __init__(self, credentials: Credentials, url: str, *, segments: int = 1) -> None:
        self._credentials = credentials
        self._url = url
        self._segments = segments
        self._kept: list[Line] = []

    async def call(self, *, seconds: float, per_second: float) -> Calls:
        """Call for that long."""
        calls, loop = Calls(), asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * per_second)):
                await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))
                group.create_task(self._call_once(calls, keep=number % 2 == 0))
        return calls

    def close(self) -> None:
        for line in self._kept:
            line.close()

    def _pop_kept(self) -> Line | None:
        while self._kept:
            line = self._kept.pop(0)
            if not line.closed:
                return line
            line.close()
        return None

    async def _call_once(self, calls: Calls, *, keep: bool) -> None:
        request = sealed_text(self._credentials, self._url, message_id=os.urandom(12).hex(), text=" ")
        began = time.perf_counter()
        try:
            line, head = await self._exchange(calls, request, self._pop_kept() if keep else None)
        except (TimeoutError, OSError):
            calls.failed += 1
            return
        calls.seconds.append(time.perf_counter() - began)
        calls.failed += not head.startswith(b"HTTP/1.1 200 ")
        if keep and len(self._kept) < _KEPT_CONNECTIONS:
            self._kept.append(line)
        else:
            line.close()

    async def _exchange(self, calls: Calls, request: bytes, kept: Line | None) -> tuple[Line, bytes]:
        """Return the head of the answer and the connection it came on.

        A kept connection that is closed before any of the answer came may have been closed while it was idle. The
        request is repeated once then (RFC 9112 9.3.1): a callback that comes twice is admitted once.
        """
        if kept is not None:
            try:
                return kept, await kept.call(request, segments=self._segments)
            except TimeoutError:
                kept.close()
                raise
            except OSError:
                kept.close()
                calls.repeated += 1
        line = await Line.open(self._url)
        try:
            return line, await line.call(request, segments=self._segments)
        except OSError:
            line.close()
            raise
