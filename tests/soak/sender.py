"""Sends mutated requests and reads the answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.soak.mutations import Mutation

# The timeouts of an answer that must arrive and of an optional one. A truncated request or one with a wrong length may
# get no answer.
_ANSWER_TIMEOUT_SECONDS = 10.0
_OPTIONAL_ANSWER_TIMEOUT_SECONDS = 0.05

_HEAD = re.compile(rb"HTTP/1\.[01] ([2-9]\d\d) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")
_LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.IGNORECASE | re.MULTILINE)


class Answer(NamedTuple):
    """One HTTP answer. `headers` are the header lines except Date."""

    status: int
    headers: frozenset[bytes]
    body: bytes


class Sender:
    """Sends mutations one after the other, on one connection as long as it stays usable."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    async def send(self, mutation: Mutation) -> list[Answer]:
        """Send a mutation and return its answers: as many as it must get, or at most one optional answer."""
        if self._socket is None:
            self._socket = _connect(self._address)
        answers: list[Answer] = []
        usable = False
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(
                _ANSWER_TIMEOUT_SECONDS if mutation.answers else _OPTIONAL_ANSWER_TIMEOUT_SECONDS
            ):
                usable = await self._exchange(self._socket, mutation, answers)
        # After a 413 the server closes the connection, because the rest of the body is still being sent.
        last = answers[-1] if usable else None
        if last is None or not mutation.whole or last.status == 413 or b"Connection: close" in last.headers:
            self.close()
        return answers

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _exchange(self, connection: socket.socket, mutation: Mutation, answers: list[Answer]) -> bool:
        """Collect the answers and return whether the server kept the connection open."""
        loop = asyncio.get_running_loop()
        # A server that refuses early may close the connection before everything is sent.
        with contextlib.suppress(ConnectionError):
            for segment in mutation.segments:
                await loop.sock_sendall(connection, segment)
                await asyncio.sleep(0)
        received = b""
        while len(answers) < max(1, mutation.answers):
            data = await loop.sock_recv(connection, 65536)
            if not data:
                return False
            received = _parse_answers(received + data, answers)
        return True


def _parse_answers(received: bytes, answers: list[Answer]) -> bytes:
    """Append complete answers to `answers` and return the rest. Interim responses (RFC 9110 15.2) are skipped."""
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
    # This does not block: connecting over loopback is immediate.
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(0)
    return connection
