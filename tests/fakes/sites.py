"""A small web server that can misbehave: a script writes the answer to each request."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True)
class Asked:
    """One request as it was received."""

    line: str
    headers: dict[str, str]
    body: bytes


class LoopbackServer:
    """Listens on 127.0.0.1, passes every connection to `serve`, and closes all of them on exit."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._connections: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.came = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        self.came.set()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()


class Site(LoopbackServer):
    """Runs `script` for each request; the connection stays open until the script closes it."""

    def __init__(
        self, script: Callable[[asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(tls)
        self._script = script
        self.requests: list[Asked] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(Asked(line, headers, body))
            await self._script(writer)


class PlainTextServer(LoopbackServer):
    """Answers the first byte with a 400 in plain text, as a web server without TLS does to anything but HTTP."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await hang_up(writer)


def answer(
    body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None
) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Return a script that answers correctly, except that Content-Length may be wrong."""

    async def script(writer: asyncio.StreamWriter) -> None:
        length_bytes = len(body) if length is None else length
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {length_bytes}\r\n{headers}\r\n".encode() + body)
        await writer.drain()
        if length_bytes > len(body):
            writer.close()

    return script


def in_turn(
    *scripts: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Return a script that runs the next of `scripts` for each request."""
    rest = iter(scripts)

    async def script(writer: asyncio.StreamWriter) -> None:
        await next(rest)(writer)

    return script


async def reset(writer: asyncio.StreamWriter) -> None:
    """Abort the connection with a RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def send_informational_answers(writer: asyncio.StreamWriter) -> None:
    """Send a thousand informational answers, and no final one."""
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    await silence(writer)


async def silence(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection normally, without an answer."""
    writer.close()
    await writer.wait_closed()
