"""The status server and clients that mean no good: whatever they send, its connections end by themselves."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge

from maven_channel_wecom.host.configuration import Gateway
from maven_channel_wecom.host.status_server import StatusServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


@asynccontextmanager
async def listening(registry: CollectorRegistry, **limits: float) -> AsyncIterator[StatusServer]:
    async def reasons() -> Sequence[str]:
        return ()

    server = StatusServer(Gateway(port=0), registry, reasons, **limits)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def exchange(server: StatusServer, request: bytes) -> bytes:
    """Send bytes, and return what comes until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
        (b"DELETE /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
        (b"PROPFIND /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
        (b"CONNECT canary-4711:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"GET /canary-4711/../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"GET /metrics%00%ff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"GET /" + b"canary-4711" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Long: " + b"canary-4711" * 10_000 + b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + b"X-More: canary-4711\r\n" * 5000 + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00canary-4711\r\n\r\n", 400),
    ],
    ids=["post", "delete", "propfind", "connect", "star", "up", "nul", "url", "header", "headers", "tls"],
)
async def test_what_is_no_question_of_ours_is_refused(
    request_bytes: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With the status for it, never with a 5xx, never with a traceback, and no log line."""
    caplog.set_level("DEBUG")
    async with listening(CollectorRegistry()) as server:
        answer = await exchange(server, request_bytes)
    assert answer.split(b" ", 2)[1] == str(status).encode()
    assert b"Traceback" not in answer
    assert [record.message for record in caplog.records if record.name.startswith("maven_channel_wecom")] == [
        "gateway status server listening"
    ]


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /metri",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Never: ending",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nno more",
        b"POST /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["nothing", "line", "header", "body", "chunk", "expect", "idle"],
)
async def test_a_client_that_dawdles_is_hung_up_on(beginning: bytes) -> None:
    """Wherever in a request it stops, or after it."""
    async with listening(CollectorRegistry(), patience_seconds=0.05) as server:
        await exchange(server, beginning)


async def test_a_reader_who_takes_nothing_is_hung_up_on() -> None:
    """Else every such connection would keep its answer in memory, for as long as it likes."""
    registry = CollectorRegistry()
    Gauge("long", "more than the buffers between two sockets hold " * 500_000, registry=registry)
    async with listening(registry, patience_seconds=0.05) as server:
        assert server._runner is not None
        aiohttp_server = server._runner.server
        assert aiohttp_server is not None
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect(("127.0.0.1", server.port))
            idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(30):
                for held in (True, False):
                    while bool(aiohttp_server.connections) != held:  # noqa: ASYNC110 - it announces nothing
                        await asyncio.sleep(0)
