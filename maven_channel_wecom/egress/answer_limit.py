"""A connector whose connections are closed when a server sends answer after answer to one request.

A server may send informational answers (1xx, RFC 9110 15.2) before the answer. aiohttp parses all that one read brings,
which can be ten thousand of them in 50 ms, and has no limit for their number.
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
"""How many answers may wait to be read. Lower: a proxy that sends informational answers of its own, one or two, could
be hung up on. Higher: a hostile host takes more of the event loop's time."""

PIECE_BYTES: Final = 2 * 1024
"""How much is parsed before the answers are counted; it holds 120 of the shortest. Lower: downloads cost more. Higher:
a hostile host takes more of the event loop's time."""


class AnswerLimitConnector(aiohttp.BaseConnector):
    """Puts an AnswerLimit before the protocol of each connection that it returns."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - they are aiohttp's
        super().__init__(**options)
        self._open: set[AnswerLimit] = set()

    async def abort_all(self) -> None:
        """Abort every connection that is still open: one with TLS waits for the other side to close it as well."""
        for limit in list(self._open):
            limit.transport.abort()
        while self._open:  # noqa: ASYNC110 - each ends within an iteration or two, and tells nobody else
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
    """Passes everything on to aiohttp's protocol, what was received in pieces, and aborts after too many answers."""

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
