"""Sockets that record the addresses they should connect to, but connect to one local listener or fail."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp


class Diversion:
    """A socket factory whose sockets connect to `to_port` on this machine instead, or are refused if it is None.

    `wanted` contains every address to which a connection was attempted, in order.
    """

    def __init__(self, to_port: int | None = None) -> None:
        self.to_port = to_port
        self.wanted: list[tuple[str, int]] = []

    def __call__(self, address: aiohttp.AddrInfoType) -> socket.socket:
        return _DivertedSocket(self, address[0])


class _DivertedSocket(socket.socket):
    def __init__(self, diversion: Diversion, family: int) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._diversion = diversion

    def connect(self, address: Any) -> None:  # noqa: ANN401 - the signature of socket.socket
        self._diversion.wanted.append((address[0], address[1]))
        if self._diversion.to_port is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "diverted")
        loopback = "127.0.0.1" if self.family == socket.AF_INET else "::ffff:127.0.0.1"
        super().connect((loopback, self._diversion.to_port))
