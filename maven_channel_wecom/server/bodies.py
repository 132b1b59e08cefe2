"""The memory budget for large request bodies while they are received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maven_channel_wecom.server.connection import Connection

SMALL_BODY_BYTES: Final = 64 * 1024
"""Maximum size of a body that needs no reservation: the connection limit alone bounds their total. Genuine bodies are
far smaller."""

LARGE_BODIES_BYTES: Final = 32 * 1024 * 1024
"""Maximum total size of all larger bodies, which any client can begin to send. Lower: large bodies crowd each other out
sooner."""


class LargeBodies:
    """The large bodies being received, each with the number of bytes reserved for it."""

    def __init__(self, max_bytes: int = LARGE_BODIES_BYTES) -> None:
        self._max_bytes = max_bytes
        self._sizes: dict[Connection, int] = {}
        self._bytes = 0

    def reserve(self, connection: Connection, size: int) -> None:
        """Reserve `size` bytes for the body that a connection receives, replacing its previous reservation.

        While all reservations together exceed the limit, a body on another unverified connection is rejected: the
        largest first, and of equal ones the oldest. If there is none, the body of this connection is rejected.
        """
        self._bytes += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        while self._bytes > self._max_bytes:
            others = [each for each in self._sizes if each is not connection and not each.verified]
            crowded_out = max(others, key=self._sizes.__getitem__, default=connection)
            self.release(crowded_out)
            crowded_out.reject(503, "crowded")

    def release(self, connection: Connection) -> None:
        """Release the reservation of a connection, if there is one."""
        self._bytes -= self._sizes.pop(connection, 0)
