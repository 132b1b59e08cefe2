"""The memory budget for large request bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maven_channel_wecom.server.connection import Connection

SMALL_BODY_BYTES: Final = 64 * 1024
"""Maximum size of a body that is not charged: the connection limit alone bounds the total of small bodies. Genuine
bodies are far smaller."""

LARGE_BODIES_BYTES: Final = 32 * 1024 * 1024
"""Maximum total size of all larger bodies, which any client can send. Lower: large bodies crowd each other out
sooner."""


class LargeBodies:
    """The bodies being received or answered, each with the number of bytes charged for it.

    Only bytes that have arrived are charged, so that a client has to send what it wants to occupy. A complete body is
    charged until its request is answered: clients could otherwise send complete ones faster than they are opened.
    """

    def __init__(self, max_bytes: int = LARGE_BODIES_BYTES) -> None:
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
