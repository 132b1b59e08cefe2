"""How many bytes of large bodies may be in memory while they are received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maven_channel_wecom.server.connection import Connection

SMALL_BODY_BYTES: Final = 64 * 1024
"""Bodies up to this size are bounded by the number of connections alone. Every genuine one is far below."""

LARGE_BODIES_BYTES: Final = 32 * 1024 * 1024
"""Of all larger bodies, which anybody can begin to send. Lower: large bodies crowd each other out sooner."""


class LargeBodies:
    """The large bodies being received, with the bytes each may come to occupy."""

    def __init__(self, max_bytes: int = LARGE_BODIES_BYTES) -> None:
        self._max_bytes = max_bytes
        self._sizes: dict[Connection, int] = {}
        self._bytes = 0

    def reserve(self, connection: Connection, size: int) -> None:
        """Reserve `size` bytes, in place of what was reserved before, for the body a connection receives.

        While all reservations exceed the limit, a body on an unverified connection is rejected: the largest first, of
        equal ones the oldest. The body at hand is only rejected when there is no other.
        """
        self._bytes += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        while self._bytes > self._max_bytes:
            others = [each for each in self._sizes if each is not connection and not each.verified]
            crowded_out = max(others, key=self._sizes.__getitem__, default=connection)
            self.release(crowded_out)
            crowded_out.reject(503, "crowded")

    def release(self, connection: Connection) -> None:
        """Give back what was reserved for a connection, if anything was."""
        self._bytes -= self._sizes.pop(connection, 0)
