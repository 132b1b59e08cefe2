"""A TCP proxy for one server that can lose answers, drop all data, hang up or refuse connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl


class _ProxiedConnection:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.lose_next_answer = False

    def disconnect(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class FaultProxy:
    """A proxy on its own loopback port, to be used with `async with`. Without faults it forwards everything.

    With `tls` it uses TLS towards its clients, but not towards the server.
    """

    def __init__(self, to_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._to_port = to_port
        self._tls = tls
        self._listener: asyncio.Server | None = None
        self._connections: dict[_ProxiedConnection, asyncio.Future[Any]] = {}
        self._answers_to_lose = 0
        self._lost_request_part = b""
        self._silently = False
        self.hole = False
        """Whether all data is dropped, in both directions."""
        self.lost = 0
        """The number of lost answers."""
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def drop(self, answers: int, *, to: bytes, silently: bool = False) -> None:
        """Lose the next answers to requests that contain `to`, which do reach the server. Hang up unless `silently`."""
        self._answers_to_lose, self._lost_request_part, self._silently = answers, to, silently

    def reset(self) -> None:
        """Abort every connection."""
        for proxied in list(self._connections):
            proxied.disconnect()

    async def refuse(self) -> None:
        """Abort every connection, and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        forwarding = list(self._connections.values())
        self.reset()
        await asyncio.gather(*forwarding, return_exceptions=True)

    async def accept(self) -> None:
        """Accept connections, on the same port as before."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            client.transport.abort()
            return
        proxied = _ProxiedConnection(client, server)
        forwarding = asyncio.gather(
            self._forward_requests(client_reader, proxied), self._forward_answers(server_reader, proxied)
        )
        self._connections[proxied] = forwarding
        try:
            await forwarding
        finally:
            del self._connections[proxied]
            proxied.disconnect()

    async def _forward_requests(self, reader: asyncio.StreamReader, proxied: _ProxiedConnection) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                if self.hole:
                    continue
                if self._answers_to_lose and self._lost_request_part in chunk:
                    self._answers_to_lose -= 1
                    proxied.lose_next_answer = True
                proxied.server.write(chunk)
                await proxied.server.drain()
        proxied.disconnect()

    async def _forward_answers(self, reader: asyncio.StreamReader, proxied: _ProxiedConnection) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                if proxied.lose_next_answer:
                    proxied.lose_next_answer = False
                    self.lost += 1
                    if not self._silently:
                        break
                elif not self.hole:
                    proxied.client.write(chunk)
                    await proxied.client.drain()
        proxied.disconnect()
