"""The connections of a server: how many may be open, for how long, and how much memory their bodies may take."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.errors import DropReason
    from maven_channel_wecom.server.connection import Connection

MAX_CONNECTIONS: Final = 1_000
"""Maximum number of open connections, each of about 10 KiB. WeCom needs a few, a reverse proxy a few hundred at most.
Lower: a flood of connections reaches the limit sooner."""

UNVERIFIED_SECONDS: Final = 12.0
"""Maximum lifetime of an unverified connection, whether it sends slowly, leaves answers unread or does nothing. A
callback takes milliseconds, and WeCom gives up after five seconds. Lower: clients on slow networks are cut off."""

SMALL_BODY_BYTES: Final = 64 * 1024
"""Maximum size of a body that is not charged: the connection limit alone bounds the total of small bodies. Genuine
bodies are far smaller."""

LARGE_BODIES_BYTES: Final = 32 * 1024 * 1024
"""Maximum total size of all larger bodies, which any client can send. Lower: large bodies crowd each other out
sooner."""

_CHECKS: Final = 15
"""Number of checks within the shortest limit, so that none of these limits is exceeded by more than a fifteenth."""


class Connections:
    """Every open connection of one server.

    At the limit a new connection is accepted and another one is closed: the oldest unverified connection, as a genuine
    client is done within milliseconds. Only while verified connections hold half of the places or more, the one that
    has been idle longest is closed instead. So no flood of connections closes one of the verified connections in the
    other half, and a genuine client is pushed out only by a flood that fills half of the places before its callback
    arrives. No connection is closed for this while its request is being answered.

    Args:
        dropped: called with the reason when a connection is dropped.
        max_connections: maximum number of connections, lowered to half of the files that this process may open.
        unverified_seconds: maximum lifetime of an unverified connection.
        idle_seconds: maximum idle time of a verified connection between two callbacks.
        body_seconds: maximum time to receive a body, whose deadline is checked here.
        large_bodies_bytes: maximum total size of all large bodies.

    Attributes:
        bodies: the memory budget of large bodies.
    """

    def __init__(
        self,
        dropped: Callable[[DropReason], None],
        *,
        max_connections: int,
        unverified_seconds: float,
        idle_seconds: float,
        body_seconds: float,
        large_bodies_bytes: int,
    ) -> None:
        self.bodies = LargeBodies(large_bodies_bytes)
        self._dropped = dropped
        self._max_connections = max_connections
        self._unverified_seconds = unverified_seconds
        self._idle_seconds = idle_seconds
        self._check_seconds = min(unverified_seconds, idle_seconds, body_seconds) / _CHECKS
        # Both are ordered by `since`.
        self._unverified: dict[Connection, None] = {}
        self._verified: dict[Connection, None] = {}
        self._loop: asyncio.AbstractEventLoop
        self._next_check: asyncio.TimerHandle | None = None
        self._stopping = False
        self._all_closed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._unverified) + len(self._verified)

    def start(self) -> None:
        """Start to close connections that stay too long."""
        self._loop = asyncio.get_running_loop()
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_connections = min(self._max_connections, open_files // 2)
        self._schedule_check()

    async def stop(self, timeout_seconds: float) -> None:
        """Close every connection, those with a request being answered after at most `timeout_seconds`."""
        self._stopping = True
        if self._next_check is not None:
            self._next_check.cancel()
        for connection in self._all():
            connection.close_when_answered()
        if self._all():
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._all_closed.wait()
            except TimeoutError:
                for connection in self._all():
                    connection.abort()
                await self._all_closed.wait()

    def add(self, connection: Connection) -> None:
        """Add a new connection, and close one if there are now too many."""
        if self._stopping:
            connection.abort()
        connection.since = self._loop.time()
        self._unverified[connection] = None
        if len(self) > self._max_connections:
            self._close_one()

    def verify(self, connection: Connection) -> None:
        """Mark a connection as verified: a genuine callback has come over it."""
        connection.since = self._loop.time()
        connection.verified = True
        self._unverified.pop(connection, None)
        self._verified.pop(connection, None)
        self._verified[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self._unverified.pop(connection, None)
        self._verified.pop(connection, None)
        if self._stopping and not self._all():
            self._all_closed.set()

    def drop(self, connection: Connection, reason: DropReason) -> None:
        """Close a connection now, even if a request is being received or answered on it, and report the reason."""
        self.remove(connection)
        self._dropped(reason)
        connection.abort()

    def _all(self) -> list[Connection]:
        return [*self._unverified, *self._verified]

    def _close_one(self) -> None:
        """Close the connection that is least likely to bring a genuine callback."""
        # The new connection is a candidate too: if requests are being answered on all others, it is the one closed.
        connection = next(each for each in self._unverified if not each.answering)
        if len(self._unverified) <= self._max_connections // 2:
            connection = next((each for each in self._verified if each.is_idle), connection)
        self.drop(connection, "limit")

    def _schedule_check(self) -> None:
        self._next_check = self._loop.call_later(self._check_seconds, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        for connection in self._all():
            if connection.answering:
                continue
            if not connection.verified and connection.since + self._unverified_seconds <= now:
                self.drop(connection, "slow")
            elif connection.verified and connection.is_idle and connection.since + self._idle_seconds <= now:
                connection.abort()
            else:
                connection.check_deadline(now)
        self._schedule_check()


class LargeBodies:
    """The bodies being received or answered, each with the number of bytes charged for it.

    Only bytes that have arrived are charged, so that a client has to send what it wants to occupy. A complete body is
    charged until its request is answered: clients could otherwise send complete ones faster than they are opened.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # In the order in which the bodies began; 0 for those that are still small.
        self._sizes: dict[Connection, int] = {}
        self._bytes = 0

    def charge(self, connection: Connection, received_bytes: int) -> bool:
        """Charge what has arrived of the body of a connection. Return False if there is no room for it.

        While all large bodies together exceed the limit, one that is being received on an unverified connection is
        rejected: the one that began first, because a genuine body arrives within milliseconds. To crowd it out, an
        attacker has to send as much as the limit in that time.
        """
        charged_bytes = received_bytes if received_bytes > SMALL_BODY_BYTES else 0
        self._bytes += charged_bytes - self._sizes.get(connection, 0)
        self._sizes[connection] = charged_bytes
        while self._bytes > self._max_bytes:
            large = (each for each, size in self._sizes.items() if size)
            crowded_out = next((each for each in large if not each.verified and not each.answering), connection)
            if crowded_out is connection:
                return False
            crowded_out.reject(503, "crowded")
        return True

    def release(self, connection: Connection) -> None:
        """Release the body of a connection, if there is one."""
        self._bytes -= self._sizes.pop(connection, 0)
