"""A connector that aborts a connection when its server sends too many answers to one request.

A server may send informational answers (1xx, RFC 9110 15.2) before the final one. aiohttp parses everything that one
read returns, which can be ten thousand in one read and take 50 ms to parse, and does not limit their number.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

UNREAD_ANSWERS: Final = 16
"""Maximum number of answers that wait to be read. Lower: connections through a proxy that adds one or two informational
answers could be aborted. Higher: a hostile host takes more of the event loop's time."""

PIECE_BYTES: Final = 2 * 1024
"""Number of bytes parsed before the answers are counted again: room for 120 of the shortest answers. Lower: downloads
cost more. Higher: a hostile host takes more of the event loop's time."""


class AnswerLimitConnector(aiohttp.BaseConnector):
    """Wraps the protocol of each connection that it returns in an AnswerLimit."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - aiohttp's options
        super().__init__(**options)
        self._open: set[AnswerLimit] = set()

    async def abort_all(self) -> None:
        """Abort every open connection: closing one with TLS would wait until the other side closes it as well."""
        for limit in list(self._open):
            limit.transport.abort()
        while self._open:  # noqa: ASYNC110 - each closes within two loop iterations, and aiohttp has no event for it
            await asyncio.sleep(0)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.protocol is not None and connection.transport is not None:
            limit = AnswerLimit(connection.protocol, connection.transport, closed=self._open.discard)
            self._open.add(limit)
            connection.transport.set_protocol(limit)
        return connection


class AnswerLimit(asyncio.Protocol):
    """Forwards everything to aiohttp's protocol, received data in pieces, and aborts after too many answers."""

    def __init__(
        self, protocol: ResponseHandler, transport: asyncio.Transport, *, closed: Callable[[AnswerLimit], object]
    ) -> None:
        self.transport = transport
        self._protocol = protocol
        self._closed = closed

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        for start in range(0, len(data), PIECE_BYTES):
            protocol.data_received(data[start : start + PIECE_BYTES])
            if protocol.transport is not None and len(protocol) > UNREAD_ANSWERS:
                protocol.transport.abort()
            if not protocol.is_connected():
                return

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed(self)
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
