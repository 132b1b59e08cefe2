"""The HTTP server that WeCom calls. It serves one path, and reveals as little as possible to other clients."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.server.connection import BODY_SECONDS, SEGMENT_BYTES, Connection
from maven_channel_wecom.server.connections import (
    LARGE_BODIES_BYTES,
    MAX_CONNECTIONS,
    UNVERIFIED_SECONDS,
    Connections,
)
from maven_channel_wecom.server.messages import ResponseWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.errors import BodyRejection, DropReason, HttpRejection
    from maven_channel_wecom.server.messages import Receiver

# Queue for connections that arrive faster than they are accepted.
_BACKLOG: Final = 1024

STOP_SECONDS: Final = 1.0
"""Maximum time that a stop waits for requests that are being answered."""


class CallbackServer:
    """An HTTP server for one path.

    Args:
        receiver: handles the requests to the path.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        path: the callback path.
        rejected: called with the reason and the status of each request that is rejected without the receiver.
        dropped: called with the reason when a connection is dropped.
        idle_seconds: maximum idle time of a connection that has brought a genuine callback.
        max_connections, unverified_seconds, large_bodies_bytes: limits described in `connections`.
        body_seconds: the limit described in `connection`.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        host: str,
        port: int,
        path: str,
        idle_seconds: float,
        rejected: Callable[[HttpRejection | BodyRejection, int], None],
        dropped: Callable[[DropReason], None],
        max_connections: int = MAX_CONNECTIONS,
        unverified_seconds: float = UNVERIFIED_SECONDS,
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
            max_connections=max_connections,
            unverified_seconds=unverified_seconds,
            idle_seconds=idle_seconds,
            body_seconds=body_seconds,
            large_bodies_bytes=large_bodies_bytes,
        )
        self._writer = ResponseWriter()
        self._buffer = memoryview(bytearray(SEGMENT_BYTES))
        self._listener: asyncio.Server | None = None

    @property
    def listens(self) -> bool:
        """Whether the server accepts new connections."""
        return self._listener is not None and self._listener.is_serving()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def start(self) -> int:
        """Listen, and return the port. The host `::` stands for every address, including IPv4.

        Raises:
            OSError: the server cannot listen on the address.
            ValueError: `host` is not a host name.
        """
        loop = asyncio.get_running_loop()
        if self._host == "::":
            # asyncio alone would listen on IPv6 only.
            sock = socket.create_server((self._host, self._port), family=socket.AF_INET6, dualstack_ipv6=True)
            self._listener = await loop.create_server(self._new_connection, sock=sock, backlog=_BACKLOG)
        else:
            self._listener = await loop.create_server(self._new_connection, self._host, self._port, backlog=_BACKLOG)
        self._connections.start()
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, wait briefly for requests that are being answered, and close every connection."""
        if self._listener is not None:
            self._listener.close()
        await self._connections.stop(STOP_SECONDS)

    def _new_connection(self) -> Connection:
        return Connection(
            receiver=self._receiver,
            path=self._path,
            connections=self._connections,
            writer=self._writer,
            buffer=self._buffer,
            body_seconds=self._body_seconds,
            rejected=self._rejected,
        )
