"""Two small proxies that record the requested destinations, but always connect to one listener of the test."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.fakes.sites import LoopbackServer

if TYPE_CHECKING:
    import ssl


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_port: int, greeting: bytes = b""
) -> None:
    """Connect to a port, send `greeting`, and pass on what both sides send until both have ended."""
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", to_port)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
        sink.close()

    try:
        server_writer.write(greeting)
        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))
    finally:
        server_writer.transport.abort()


class HttpProxy(LoopbackServer):
    """An HTTP proxy for CONNECT and absolute-form requests, which refuses all of them if `to_port` is None.

    `asked` contains the requested hosts and ports. The proxy takes `Connection: close` literally (RFC 9112 9.6): a
    CONNECT with it gets an answer, but no tunnel.
    """

    def __init__(
        self,
        to_port: int | None = None,
        *,
        user: str = "",
        password: str = "",
        refusal: bytes = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self._to_port = to_port
        self._refusal = refusal
        self._credentials = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.rstrip().split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        if target == "*":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        fields = dict(line.split(": ", 1) for line in lines[1:])
        self.asked.append(target if method == "CONNECT" else target.split("/")[2])
        if fields.get("Proxy-Authorization") != self._credentials:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif self._to_port is None:
            writer.write(self._refusal)
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if fields.get("Connection") != "close":
                await relay(reader, writer, self._to_port)
        else:
            path = "/" + target.split("/", 3)[3]
            kept = "\r\n".join(f"{name}: {value}" for name, value in fields.items() if name != "Proxy-Authorization")
            await relay(reader, writer, self._to_port, f"{method} {path} HTTP/1.1\r\n{kept}\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


class SocksProxy(LoopbackServer):
    """A SOCKS5 proxy for CONNECT (RFC 1928, 1929), which refuses all requests if `to_port` is None.

    `asked` contains the requested names or addresses, with their ports.
    """

    def __init__(self, to_port: int | None = None, *, user: str = "", password: str = "", mute: bool = False) -> None:
        super().__init__()
        self._to_port = to_port
        self._credentials = (user.encode(), password.encode()) if user else None
        self._mute = mute
        self.asked: list[tuple[str, int]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self._mute:
            return
        if self._credentials is None:
            writer.write(b"\x05\x00")
        elif 2 not in methods:
            writer.write(b"\x05\xff")
            return
        else:
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            given = (await _read_counted(reader), await _read_counted(reader))
            writer.write(b"\x01\x00" if given == self._credentials else b"\x01\x01")
        _version, _command, _reserved, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await _read_counted(reader)).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        self.asked.append((host, int.from_bytes(await reader.readexactly(2), "big")))
        bound = b"\x00\x01" + bytes(6)
        if self._to_port is None:
            writer.write(b"\x05\x05" + bound)
            await writer.drain()
        else:
            writer.write(b"\x05\x00" + bound)
            await relay(reader, writer, self._to_port)


async def _read_counted(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly((await reader.readexactly(1))[0])
