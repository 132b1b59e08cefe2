"""A callback server on a free port, a receiver that records requests, and clients that read one answer at a time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict, Unpack

from maven_channel_wecom.server.messages import RETRY_LATER, Answer, error_answer
from maven_channel_wecom.server.server import CallbackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maven_channel_wecom.errors import BodyRejection, DropReason, HttpRejection
    from maven_channel_wecom.server.messages import Request

WAIT_SECONDS = 10
LINE = b"POST /wecom/bot?genuine HTTP/1.1\r\nHost: bot.example.com\r\n"
CALLBACK = LINE + b"Content-Length: 2\r\n\r\n{}"


def post(query: bytes, body: bytes = b"{}") -> bytes:
    return b"POST /wecom/bot?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (query, len(body), body)


class EchoReceiver:
    """Echoes requests: `genuine` verifies, `later` waits for `answer_all`, `refused` is refused by its head."""

    def __init__(self) -> None:
        self.heads: list[tuple[str, bytes]] = []
        self.requests: list[Request] = []
        self.waiting: list[Request] = []
        self.has_waiting = asyncio.Event()

    def check_head(self, method: str, query: bytes) -> Answer | None:
        self.heads.append((method, query))
        return error_answer(401) if query == b"refused" else None

    def receive(self, request: Request) -> None:
        self.requests.append(request)
        if request.query == b"later":
            self.waiting.append(request)
            self.has_waiting.set()
        else:
            request.answer(self.echo(request))

    def echo(self, request: Request) -> Answer:
        if request.query == b"retry":
            return RETRY_LATER
        body = f"{request.method} {request.query.decode('latin-1')} {len(request.body)}"
        return Answer(status=200, body=body.encode(), verifies=request.query == b"genuine")

    def answer_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.has_waiting.clear()
        for request in waiting:
            request.answer(self.echo(request))

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]


class Response:
    """One answer as it was received."""

    def __init__(self, head: bytes) -> None:
        line, *lines = head.decode("latin-1").rstrip().split("\r\n")
        self.status = int(line.split(" ")[1])
        self.headers = dict(each.split(": ", 1) for each in lines)
        self.body = b""


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, *, with_body: bool = True) -> Response:
        """Return the next answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            response = Response(await self.reader.readuntil(b"\r\n\r\n"))
            if with_body and response.status != 100:
                response.body = await self.reader.readexactly(int(response.headers["Content-Length"]))
        return response

    async def ask(self, data: bytes) -> Response:
        self.send(data)
        return await self.response()

    async def rest(self) -> bytes:
        """Return everything until the server closes the connection; a reset counts as closing."""
        received = b""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    piece = await self.reader.read(65536)
                except ConnectionError:
                    return received
                if not piece:
                    return received
                received += piece


class Limits(TypedDict, total=False):
    """The limits that a test may lower."""

    max_connections: int
    unverified_seconds: float
    idle_seconds: float
    body_seconds: float
    large_bodies_bytes: int


class ServerHarness:
    """A listening server, its clients, and the rejections and drops that it reported."""

    def __init__(self, host: str, **limits: Unpack[Limits]) -> None:
        self.receiver = EchoReceiver()
        self.rejected: list[tuple[str, int]] = []
        self.dropped: list[str] = []
        self.reported = asyncio.Event()
        self.clients: list[Client] = []
        self.port = 0
        limits.setdefault("idle_seconds", 60.0)
        self.server = CallbackServer(
            self.receiver,
            host=host,
            port=0,
            path="/wecom/bot",
            rejected=self._reject,
            dropped=self._drop,
            **limits,
        )

    def _reject(self, reason: HttpRejection | BodyRejection, status: int) -> None:
        self.rejected.append((reason, status))
        self.reported.set()

    def _drop(self, reason: DropReason) -> None:
        self.dropped.append(reason)
        self.reported.set()

    async def connect(self, data: bytes = b"", *, address: str = "127.0.0.1") -> Client:
        """Connect, send `data`, and return when the server has accepted the connection."""
        # The server may drop another connection for this one, so the number of connections alone is not enough.
        before = self.server.connections, len(self.dropped)
        client = Client(*await asyncio.open_connection(address, self.port))
        self.clients.append(client)
        async with asyncio.timeout(WAIT_SECONDS):
            while (self.server.connections, len(self.dropped)) == before:  # noqa: ASYNC110 - there is no event for this
                await asyncio.sleep(0)
        if data:
            client.send(data)
        return client

    async def all_closed(self) -> None:
        """Wait until the server has no open connection."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.server.connections:  # noqa: ASYNC110 - there is no event for this
                await asyncio.sleep(0)

    async def next_report(self) -> None:
        """Wait until a request was rejected or a connection dropped since the last call."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.reported.wait()
        self.reported.clear()


@asynccontextmanager
async def start_server(*, host: str = "127.0.0.1", **limits: Unpack[Limits]) -> AsyncIterator[ServerHarness]:
    """Run a server, and stop it at the end."""
    harness = ServerHarness(host, **limits)
    harness.port = await harness.server.start()
    try:
        yield harness
    finally:
        for client in harness.clients:
            client.writer.close()
        await harness.server.stop()
