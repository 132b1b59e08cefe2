"""The connections of a server: how many there may be, and how long one may stay without bringing anything."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.errors import DropReason
    from maven_channel_wecom.server.connection import Connection

MAX_CONNECTIONS: Final = 1_000
"""A connection holds some 10 KiB; WeCom needs a few, a reverse proxy some hundreds at most. Lower: a flood of
connections reaches the limit sooner."""

UNVERIFIED_SECONDS: Final = 12.0
"""For everything an unverified connection does: slow heads, slow bodies, answers left unread, nothing. A callback takes
milliseconds, and WeCom itself gives up after five seconds. Lower: slow networks are cut off."""

IDLE_SECONDS: Final = 75.0
"""Of a verified connection, between two callbacks. Lower: a reverse proxy that keeps connections longer sends a request
while we close, and answers 502."""

NEWCOMER_SECONDS: Final = 1.0
"""For this long a new connection is not closed in favor of another. Lower: a flood of connections pushes out a genuine
caller before its callback has come. Higher: a flood pushes out verified connections."""

_CHECKS: Final = 15
"""Checks within the shortest limit: no limit is exceeded by more than a fifteenth of it."""


class Connections:
    """Every open connection of one server.

    At the limit the newcomer gets in, and another connection is closed: of those that never brought a genuine callback
    the first, as a genuine caller is done within milliseconds; without one, the verified connection that is idle
    longest. None is closed while its request is being answered.

    Args:
        dropped: is told why a connection was closed.
        most: how many there may be, at most half of the files this process may open.
        unverified_seconds: see UNVERIFIED_SECONDS.
        idle_seconds: see IDLE_SECONDS.
        newcomer_seconds: see NEWCOMER_SECONDS.
        check_seconds: how often the connections are checked, at least.
    """

    def __init__(
        self,
        dropped: Callable[[DropReason], None],
        *,
        most: int,
        unverified_seconds: float,
        idle_seconds: float,
        newcomer_seconds: float,
        check_seconds: float,
    ) -> None:
        self._dropped = dropped
        self._most = most
        self._unverified_seconds = unverified_seconds
        self._idle_seconds = idle_seconds
        self._newcomer_seconds = newcomer_seconds
        self._check_seconds = min(unverified_seconds, idle_seconds, check_seconds) / _CHECKS
        # Each in the order of `since`.
        self._unverified: dict[Connection, None] = {}
        self._verified: dict[Connection, None] = {}
        self._loop: asyncio.AbstractEventLoop
        self._next_check: asyncio.TimerHandle | None = None
        self._stopping = False
        self._all_gone = asyncio.Event()

    def __len__(self) -> int:
        return len(self._unverified) + len(self._verified)

    def start(self) -> None:
        """Begin to close connections that stay too long."""
        self._loop = asyncio.get_running_loop()
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(self._most, open_files // 2)
        self._check_later()

    async def stop(self, seconds: float) -> None:
        """Close every connection. A request that is being answered has `seconds` to finish."""
        self._stopping = True
        if self._next_check is not None:
            self._next_check.cancel()
        for connection in self._all():
            connection.close_when_answered()
        if self._all():
            try:
                async with asyncio.timeout(seconds):
                    await self._all_gone.wait()
            except TimeoutError:
                for connection in self._all():
                    connection.abort()
                await self._all_gone.wait()

    def add(self, connection: Connection) -> None:
        """Take in a new connection."""
        if self._stopping:
            connection.abort()
        connection.since = self._loop.time()
        self._unverified[connection] = None
        if len(self) > self._most:
            self._close_one(connection.since)

    def verify(self, connection: Connection) -> None:
        """Note that a genuine callback came over a connection."""
        connection.since = self._loop.time()
        connection.verified = True
        self._unverified.pop(connection, None)
        self._verified.pop(connection, None)
        self._verified[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._unverified.pop(connection, None)
        self._verified.pop(connection, None)
        if self._stopping and not self._all():
            self._all_gone.set()

    def drop(self, connection: Connection, reason: DropReason) -> None:
        """Close a connection at once, whatever is under way on it."""
        self.remove(connection)
        self._dropped(reason)
        connection.abort()

    def _all(self) -> list[Connection]:
        return [*self._unverified, *self._verified]

    def _close_one(self, now: float) -> None:
        """Close the connection that is the least likely to bring a genuine callback."""
        # The newcomer is among them: if all others are being answered, it goes itself.
        connection = next(each for each in self._unverified if not each.answering)
        if connection.since + self._newcomer_seconds > now:
            connection = next((each for each in self._verified if not each.answering), connection)
        self.drop(connection, "limit")

    def _check_later(self) -> None:
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
        self._check_later()
