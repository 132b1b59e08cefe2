"""A connector that bounds how much of a server's answer is parsed at once, and how many answers one request may get.

aiohttp parses everything that one read returns: 256 KiB, which can hold forty thousand chunks of one byte, or fifteen
thousand informational answers (1xx, RFC 9110 15.2), whose number it does not limit. Meanwhile no other task runs.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from collections.abc import Callable

UNREAD_ANSWERS: Final = 16
"""Maximum number of answers that wait to be read. Lower: connections through a proxy that adds one or two informational
answers could be aborted. Higher: a hostile host takes more of the event loop's time."""

READ_BYTES: Final = 4 * 1024
"""Maximum number of bytes that one read returns, after which other tasks run. Lower: downloads cost more. Higher: a
hostile host takes more of the event loop's time."""

# A connection closes within three loop iterations of its abort: TCP, then TLS, then TLS in TLS.
_CLOSING_ITERATIONS: Final = 8


class AnswerLimitConnector(aiohttp.BaseConnector):
    """Reads from every connection through an AnswerLimit, from its first byte: the answers of a proxy included."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - aiohttp's options
        super().__init__(**options)
        self._limits: weakref.WeakSet[AnswerLimit] = weakref.WeakSet()
        # aiohttp has no public way to choose the protocol of a connection.
        self._factory = functools.partial(LimitedHandler, asyncio.get_running_loop(), self._limits)  # type: ignore[assignment]

    async def abort_all(self) -> None:
        """Abort every open connection: closing one with TLS would wait until the other side closes it as well."""
        for limit in list(self._limits):
            limit.transport.abort()
        # aiohttp has no event for the end of a connection. The number of iterations is limited because TLS inside a
        # tunnel replaces the tunnel's protocol, which is then not told of the end.
        for _ in range(_CLOSING_ITERATIONS):
            if not self._limits:
                break
            await asyncio.sleep(0)


class LimitedHandler(ResponseHandler):
    """aiohttp's protocol of a connection, which receives what an AnswerLimit reads. `limits` registers that one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: weakref.WeakSet[AnswerLimit]) -> None:
        super().__init__(loop)
        self._limits = limits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        limit_answers(self, cast("asyncio.Transport", transport), self._limits)


def limit_answers(
    protocol: ResponseHandler, transport: asyncio.Transport, limits: weakref.WeakSet[AnswerLimit]
) -> None:
    """Read from a connection through an AnswerLimit, which is added to `limits`."""
    limit = AnswerLimit(protocol, transport, closed=limits.discard)
    limits.add(limit)
    transport.set_protocol(limit)


class AnswerLimit(asyncio.BufferedProtocol):
    """Reads a few bytes at a time, passes them to aiohttp's protocol, and aborts after too many answers."""

    def __init__(
        self, protocol: ResponseHandler, transport: asyncio.Transport, *, closed: Callable[[AnswerLimit], object]
    ) -> None:
        self.transport = transport
        self._protocol = protocol
        self._closed = closed
        self._buffer = memoryview(bytearray(READ_BYTES))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer has one size
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        protocol = self._protocol
        if not protocol.is_connected():
            return
        protocol.data_received(bytes(self._buffer[:nbytes]))
        if protocol.transport is not None and len(protocol) > UNREAD_ANSWERS:
            protocol.transport.abort()

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed(self)
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
