"""The HTTP server WeCom calls: reads a request within its limits, hands it on, writes the answer.

It serves one path, and says as little as possible to whoever calls another one. A connection begins on the short path;
at the first request that is not ordinary it becomes aiohttp's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.transport.callback_answer import Wire, dull_answer
from maven_channel_wecom.transport.connection import SEGMENT_BYTES, Connection, Turn
from maven_channel_wecom.transport.connections import IDLE_SECONDS, MOST, STRANGER_SECONDS, Connections
from maven_channel_wecom.transport.request_handler import DullRequestHandler, forget_frames, response
from maven_channel_wecom.transport.short_path import ShortPath

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from maven_channel_wecom.later import Later
    from maven_channel_wecom.transport.callback_answer import CallbackAnswer

BODY_BYTES: Final = 1024 * 1024
"""As in the original. Media travel by URL, so a genuine body has a few kilobytes."""

BODY_SECONDS: Final = 10.0
"""For the whole body. WeCom gives up after five; aiohttp itself sets no limit here."""

BODIES_BYTES: Final = 32 * 1024 * 1024
"""Of all bodies being received, which anybody can begin to send. Lower: large bodies crowd each other out sooner."""

# Connections that come at once wait here until they are taken in.
_BACKLOG: Final = 1024
_SHUTDOWN_SECONDS: Final = 1.0


class Receiver(Protocol):
    """Answers the requests to one path. What a caller sends makes no method raise."""

    async def receive(
        self, method: str, query: Mapping[str, str], read_body: Callable[[], Awaitable[bytes]]
    ) -> CallbackAnswer:
        """Answer any request; `read_body` raises MalformedCallback."""
        ...

    def receive_ordinary(self, query: bytes, body: bytes) -> CallbackAnswer | Later[CallbackAnswer] | None:
        """Answer a POST that came whole, its query raw; at once if it can, None when `receive` must judge it."""
        ...


class CallbackServer:
    """A server on one path.

    Args:
        receiver: answers.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        path: the one path.
        dropped: told why a connection was closed; one of DROP_REASONS.
        short_path: whether ordinary callbacks take it.
        most_connections, stranger_seconds, idle_seconds: see `connections`.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        host: str,
        port: int,
        path: str,
        dropped: Callable[[str], None],
        short_path: bool = True,
        most_connections: int = MOST,
        stranger_seconds: float = STRANGER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.connections = Connections(
            dropped, most=most_connections, stranger_seconds=stranger_seconds, idle_seconds=idle_seconds
        )
        self._receiver = receiver
        self._host = host
        self._port = port
        self._path = path
        self._read_ordinary = ShortPath(path).read if short_path else _nothing_is_ordinary
        self._turn = Turn(receiver.receive_ordinary)
        self._wire = Wire()
        self._buffer = memoryview(bytearray(SEGMENT_BYTES))
        self._body_bytes = 0
        self._aiohttp = web.Server(self._handle)
        self._listener: asyncio.Server | None = None

    @property
    def listens(self) -> bool:
        """Whether new connections are taken."""
        return self._listener is not None and self._listener.is_serving()

    async def start(self) -> int:
        """Listen, and return the port. OSError or ValueError when the address cannot be had."""
        self._listener = await asyncio.get_running_loop().create_server(
            self._connect, self._host, self._port, backlog=_BACKLOG
        )
        self.connections.start()
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, let requests being answered finish for a moment, and close every connection."""
        if self._listener is not None:
            self._listener.close()
        # Idle connections first, or each would be waited for.
        self._aiohttp.pre_shutdown()
        await self._turn.settle(_SHUTDOWN_SECONDS)
        await self._aiohttp.shutdown(_SHUTDOWN_SECONDS)
        self.connections.stop()

    def _connect(self) -> Connection:
        return Connection(
            self.connections,
            self._read_ordinary,
            self._turn,
            self._hand_over,
            self._wire,
            self._buffer,
        )

    def _hand_over(self, connection: Connection, data: bytes) -> None:
        handler = DullRequestHandler(self._aiohttp, connection.peer, self.connections)
        connection.transport.set_protocol(handler)
        handler.connection_made(connection.transport)
        handler.data_received(data)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        async def read_body() -> bytes:
            return await self._read_body(request)

        if request.path != self._path:
            return response(dull_answer(404))
        answer = await self._receiver.receive(request.method, request.query, read_body)
        if answer.trusts and isinstance(request.protocol, DullRequestHandler):
            request.protocol.trust()
        written = response(answer)
        if request.content.exception() is not None:
            # There is no end of a broken body to wait for, and no request behind it.
            request.content.feed_eof()
            written.force_close()
        return written

    async def _read_body(self, request: web.BaseRequest) -> bytes:
        """Read a body; MalformedCallback when it is too large, too slow, one too many, or its sender hung up."""
        if (request.content_length or 0) > BODY_BYTES:
            raise _too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.content.iter_any():
                    body += chunk
                    self._body_bytes += len(chunk)
                    if len(body) > BODY_BYTES:
                        raise _too_large()
                    if self._body_bytes > BODIES_BYTES:
                        message = "too many bodies are being received"
                        raise MalformedCallback(message, reason="crowded", status=503)
        except TimeoutError:
            message = "the body took too long"
            raise MalformedCallback(message, reason="slow", status=408) from None
        except (ConnectionError, web.RequestPayloadError, RuntimeError) as error:
            # The last is aiohttp's for a connection that was closed before the body was waited for.
            forget_frames(error)
            message = "the body ended early or could not be decoded"
            raise MalformedCallback(message, reason="aborted") from None
        finally:
            self._body_bytes -= len(body)
        return bytes(body)


def _too_large() -> MalformedCallback:
    message = "the body is too large"
    return MalformedCallback(message, reason="too_large", status=413)


def _nothing_is_ordinary(_data: bytes) -> None:
    """Have aiohttp answer everything."""
