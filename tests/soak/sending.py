"""Sending mutations, and reading whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.soak.mutations import Mutation

# For an answer that must come, and for one that may: what is cut off or lies about its length gets none.
_ANSWER_TIMEOUT_SECONDS = 10.0
_OPTIONAL_ANSWER_SECONDS = 0.05

_HEAD = re.compile(rb"HTTP/1\.[01] ([2-9]\d\d) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")
_LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.IGNORECASE | re.MULTILINE)


class Answer(NamedTuple):
    """One answer. `headers` are as sent, without those that differ from one answer to the next."""

    status: int
    headers: frozenset[bytes]
    body: bytes

    def unsealed(self) -> Answer:
        """Return it without a body that is sealed, and so never the same twice."""
        return self._replace(body=b"") if self.status == 200 and self.body.startswith(b"{") else self


class Sender:
    """Sends one mutation after the other, on one connection for as long as that stays usable."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    async def send(self, mutation: Mutation) -> list[Answer]:
        """Return the answers to a mutation: as many as it must get, or one that it may get."""
        if self._socket is None:
            self._socket = _connect(self._address)
        answers: list[Answer] = []
        usable = False
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS if mutation.answers else _OPTIONAL_ANSWER_SECONDS):
                usable = await self._exchange(self._socket, mutation, answers)
        # After a 413 the rest of the body is still under way, and the server hangs up.
        last = answers[-1] if usable else None
        if last is None or not mutation.whole or last.status == 413 or b"Connection: close" in last.headers:
            self.close()
        return answers

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _exchange(self, connection: socket.socket, mutation: Mutation, answers: list[Answer]) -> bool:
        """Return whether the other side still holds on when it has answered."""
        loop = asyncio.get_running_loop()
        # One that refuses early may hang up before everything is sent.
        with contextlib.suppress(ConnectionError):
            for segment in mutation.segments:
                await loop.sock_sendall(connection, segment)
                await asyncio.sleep(0)
        received = b""
        while len(answers) < max(1, mutation.answers):
            data = await loop.sock_recv(connection, 65536)
            if not data:
                return False
            received = _take(received + data, answers)
        return True


def _take(received: bytes, answers: list[Answer]) -> bytes:
    """Take the whole answers off the front, and return the rest. What is only interim (RFC 9110 15.2) is none."""
    while True:
        received = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = _HEAD.match(received)
        if not head:
            return received
        length = _LENGTH.search(head[2])
        end = head.end() + (int(length[1]) if length else 0)
        if len(received) < end:
            return received
        headers = frozenset(line for line in head[2].split(b"\r\n") if not line.startswith(b"Date:"))
        answers.append(Answer(int(head[1]), headers, received[head.end() : end]))
        received = received[end:]


def _connect(address: tuple[str, int]) -> socket.socket:
    # On loopback it is there at once.
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(0)
    return connection
