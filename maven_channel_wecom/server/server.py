"""The HTTP server WeCom calls. It serves one path, and says as little as possible to whoever calls another one."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.server.bodies import LARGE_BODIES_BYTES, LargeBodies
from maven_channel_wecom.server.connection import BODY_SECONDS, SEGMENT_BYTES, Connection
from maven_channel_wecom.server.connections import (
    IDLE_SECONDS,
    MAX_CONNECTIONS,
    NEWCOMER_SECONDS,
    UNVERIFIED_SECONDS,
    Connections,
)
from maven_channel_wecom.server.messages import ResponseWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.errors import BodyRejection, DropReason, HttpRejection
    from maven_channel_wecom.server.messages import Receiver

# Connections that come at once wait here until they are accepted.
_BACKLOG: Final = 1024

STOP_SECONDS: Final = 1.0
"""For requests that are being answered when the server stops."""


class CallbackServer:
    """A server on one path.

    Args:
        receiver: answers.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        path: the callback path.
        rejected: is told the reason and the status of each request that the server answers by itself.
        dropped: is told why a connection was closed.
        max_connections, unverified_seconds, idle_seconds, newcomer_seconds: see `connections`.
        body_seconds: see `connection`.
        large_bodies_bytes: see `bodies`.
    """

    def __init__(  # noqa: PLR0913 - six of them are limits, which a test may shorten
        self,
        receiver: Receiver,
        *,
        host: str,
        port: int,
        path: str,
        rejected: Callable[[HttpRejection | BodyRejection, int], None],
        dropped: Callable[[DropReason], None],
        max_connections: int = MAX_CONNECTIONS,
        unverified_seconds: float = UNVERIFIED_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        newcomer_seconds: float = NEWCOMER_SECONDS,
        body_seconds: float = BODY_SECONDS,
        large_bodies_bytes: int = LARGE_BODIES_BYTES,
    ) -> None:
        self._receiver = receiver
        self._host = host
        self._port = port
        self._path = path.encode()
        self._rejected = rejected
        self._body_seconds = body_seconds
        self._connections = Connections(
            dropped,
            most=max_connections,
            unverified_seconds=unverified_seconds,
            idle_seconds=idle_seconds,
            newcomer_seconds=newcomer_seconds,
            check_seconds=body_seconds,
        )
        self._bodies = LargeBodies(large_bodies_bytes)
        self._writer = ResponseWriter()
        self._buffer = memoryview(bytearray(SEGMENT_BYTES))
        self._listener: asyncio.Server | None = None

    @property
    def listens(self) -> bool:
        """Whether new connections are accepted."""
        return self._listener is not None and self._listener.is_serving()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    async def start(self) -> int:
        """Listen, and return the port. The host `::` stands for every address, of IPv4 as well.

        Raises:
            OSError: the address cannot be listened on.
            ValueError: `host` is no host name.
        """
        loop = asyncio.get_running_loop()
        if self._host == "::":
            # asyncio itself would listen for IPv6 only.
            every = socket.create_server((self._host, self._port), family=socket.AF_INET6, dualstack_ipv6=True)
            self._listener = await loop.create_server(self._connect, sock=every, backlog=_BACKLOG)
        else:
            self._listener = await loop.create_server(self._connect, self._host, self._port, backlog=_BACKLOG)
        self._connections.start()
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, let requests being answered finish for a moment, and close every connection."""
        if self._listener is not None:
            self._listener.close()
        await self._connections.stop(STOP_SECONDS)

    def _connect(self) -> Connection:
        return Connection(
            receiver=self._receiver,
            path=self._path,
            connections=self._connections,
            bodies=self._bodies,
            writer=self._writer,
            buffer=self._buffer,
            body_seconds=self._body_seconds,
            rejected=self._rejected,
        )
