"""A TCP proxy for one server that loses answers, swallows everything, hangs up or refuses, as it is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl


class _Passage:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.losing = False

    def cut(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class FaultProxy:
    """Listens on a loopback port of its own; `async with` it. It passes everything on until told otherwise.

    With `tls` it speaks TLS to its clients, and plainly to the server.
    """

    def __init__(self, to_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._to_port = to_port
        self._tls = tls
        self._listener: asyncio.Server | None = None
        self._passages: dict[_Passage, asyncio.Future[Any]] = {}
        self._to_lose = 0
        self._only_to = b""
        self._silently = False
        self.hole = False
        """Whether everything is swallowed, both ways."""
        self.lost = 0
        """How many answers were lost."""
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def lose(self, answers: int, *, to: bytes, silently: bool = False) -> None:
        """Lose the next answers to requests that hold `to`, which the server does get; hang up unless `silently`."""
        self._to_lose, self._only_to, self._silently = answers, to, silently

    def reset(self) -> None:
        """Hang up on everybody, now."""
        for passage in list(self._passages):
            passage.cut()

    async def refuse(self) -> None:
        """Hang up on everybody and let nobody in."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        carried = list(self._passages.values())
        self.reset()
        await asyncio.gather(*carried, return_exceptions=True)

    async def accept(self) -> None:
        """Let in whoever comes, on the same port as before."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            client.transport.abort()
            return
        passage = _Passage(client, server)
        carrying = asyncio.gather(self._ask(client_reader, passage), self._answer(server_reader, passage))
        self._passages[passage] = carrying
        try:
            await carrying
        finally:
            del self._passages[passage]
            passage.cut()

    async def _ask(self, reader: asyncio.StreamReader, passage: _Passage) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                if self.hole:
                    continue
                if self._to_lose and self._only_to in chunk:
                    self._to_lose -= 1
                    passage.losing = True
                passage.server.write(chunk)
                await passage.server.drain()
        passage.cut()

    async def _answer(self, reader: asyncio.StreamReader, passage: _Passage) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                if passage.losing:
                    passage.losing = False
                    self.lost += 1
                    if not self._silently:
                        break
                elif not self.hole:
                    passage.client.write(chunk)
                    await passage.client.drain()
        passage.cut()
