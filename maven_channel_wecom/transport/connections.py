"""The connections of a server: how many there may be, and how long one may stay without bringing anything."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STRANGER_SECONDS: Final = 12.0
"""For whoever has not brought a genuine callback yet: slow headers, slow bodies, slow readers and idlers alike. A
callback takes milliseconds, and WeCom itself gives up after five seconds. Lower: slow networks are cut off."""

IDLE_SECONDS: Final = 75.0
"""For whoever has, between two of them. Longer than reverse proxies keep a connection, so that it is they who close."""

MOST: Final = 1_000
"""Connections at once. A stranger holds some 10 KiB; WeCom needs a few, a reverse proxy some hundreds at most."""

_LOOKS: Final = 15
"""In the time a stranger has: none stays longer by more than a fifteenth."""


class Peer:
    """Who is at the other end of one connection."""

    __slots__ = ("answering", "known", "since", "transport")

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self.transport = transport
        self.answering = False
        """Whether a whole request of it is being answered: that takes seconds at most, and it is not hung up on."""
        self.known = False
        self.since = now
        """When it connected or brought its last genuine callback, on the steady clock."""


class Connections:
    """Every open connection of one server.

    At the limit the newcomer gets in and somebody else goes: of those who never brought a genuine callback the one that
    connected first, as a genuine caller is done within milliseconds; where all are known, the one that is idle longest.
    So a flood of connections that do nothing shuts nobody out.

    Args:
        dropped: told why a connection was closed: `limit` or `slow`.
        most: how many there may be, at most half of the files this process may open.
        stranger_seconds: see STRANGER_SECONDS.
        idle_seconds: see IDLE_SECONDS.
    """

    def __init__(
        self,
        dropped: Callable[[str], None],
        *,
        most: int = MOST,
        stranger_seconds: float = STRANGER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._dropped = dropped
        self._most = most
        self._stranger_seconds = stranger_seconds
        self._idle_seconds = idle_seconds
        # Each in the order of `since`.
        self._strangers: dict[Peer, None] = {}
        self._known: set[Peer] = set()
        self._looking: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def start(self) -> None:
        """Begin to close those who stay too long."""
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(self._most, open_files // 2)
        self._look_later()

    def stop(self) -> None:
        """Close every connection."""
        if self._looking:
            self._looking.cancel()
        for peer in (*self._strangers, *self._known):
            peer.transport.abort()

    def add(self, transport: asyncio.Transport) -> Peer:
        """Take a new connection in."""
        if len(self) >= self._most:
            self._make_room()
        peer = Peer(transport, time.monotonic())
        self._strangers[peer] = None
        return peer

    def trust(self, peer: Peer) -> None:
        """Note that a genuine callback came from there."""
        peer.since = time.monotonic()
        if not peer.known and self._strangers.pop(peer, peer) is None:
            peer.known = True
            self._known.add(peer)

    def remove(self, peer: Peer) -> None:
        """Forget a connection that is closed."""
        self._strangers.pop(peer, None)
        self._known.discard(peer)

    def drop(self, peer: Peer, reason: str) -> None:
        """Close a connection at once, whatever is under way on it."""
        self.remove(peer)
        self._dropped(reason)
        peer.transport.abort()

    def _make_room(self) -> None:
        oldest = next((peer for peer in self._strangers if not peer.answering), None)
        self.drop(oldest or min(self._known or self._strangers, key=lambda peer: (peer.answering, peer.since)), "limit")

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(self._stranger_seconds / _LOOKS, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        for peer in list(self._strangers):
            if peer.since + self._stranger_seconds > now:
                break
            if not peer.answering:
                self.drop(peer, "slow")
        for peer in [each for each in self._known if each.since + self._idle_seconds <= now and not each.answering]:
            self.remove(peer)
            peer.transport.abort()
        self._look_later()
