"""The status server under bad and slow clients: every connection ends, and callbacks are not delayed."""

from __future__ import annotations

import asyncio
import gzip
import socket
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from maven_channel_wecom.host.configuration import Gateway
from maven_channel_wecom.host.status_server import MAX_STATUS_CONNECTIONS, ProcessMetrics, StatusServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import FrameType

    from prometheus_client import Metric
    from prometheus_client.registry import Collector


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
    """Send bytes, and return what arrives until the server closes the connection."""
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
async def test_an_invalid_request_gets_an_error_status_and_no_log_line(
    request_bytes: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
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
async def test_a_client_that_stops_sending_is_disconnected(beginning: bytes) -> None:
    async with listening(CollectorRegistry(), timeout_seconds=0.05) as server:
        await exchange(server, beginning)


async def test_a_client_that_does_not_read_is_disconnected() -> None:
    """The server would keep the answer in memory until then."""
    registry = CollectorRegistry()
    Gauge("long", "more than the buffers between two sockets hold " * 500_000, registry=registry)
    async with listening(registry, timeout_seconds=0.05) as server:
        assert server._runner is not None
        aiohttp_server = server._runner.server
        assert aiohttp_server is not None
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect(("127.0.0.1", server.port))
            idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(30):
                for expected in (True, False):
                    while bool(aiohttp_server.connections) != expected:  # noqa: ASYNC110 - there is no event to wait for
                        await asyncio.sleep(0)


@pytest.mark.parametrize("target", [b"/metrics", b"/nowhere"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Encoding: gzip\r\nContent-Length: 50000", 415),
        (b"Content-Encoding: identity, br\r\nContent-Length: 50000", 415),
        (b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked", 415),
        (b"Content-Length: 50000", 413),
        (b"Transfer-Encoding: chunked", 413),
    ],
)
async def test_an_encoded_or_large_body_is_refused_before_it_is_sent(
    target: bytes, headers: bytes, status: int
) -> None:
    async with listening(CollectorRegistry()) as server:
        answer = await exchange(server, b"POST " + target + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n")
    assert answer.split(b" ", 2)[1] == str(status).encode()
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize("body", [b"Content-Length: 2\r\n\r\n{}", b"\r\n", b"Content-Encoding: identity\r\n\r\n"])
async def test_a_small_body_is_ignored(body: bytes) -> None:
    async with listening(CollectorRegistry()) as server:
        answer = await exchange(server, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_compressed_body_is_not_decompressed() -> None:
    """A few kilobytes may expand to gigabytes, and decompressing them would block the event loop."""
    bomb = gzip.compress(bytes(1024 * 1024))
    head = b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    next_request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    called: set[str] = set()

    def record_call(_frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            called.add(getattr(argument, "__name__", ""))

    async with listening(CollectorRegistry()) as server:
        sys.setprofile(record_call)
        try:
            answers = await exchange(server, head + bomb + next_request)
        finally:
            sys.setprofile(None)
    assert answers.startswith(b"HTTP/1.1 415 ")
    # The request after it is not answered.
    assert answers.count(b"HTTP/1.1 ") == 1
    assert "recv" in called
    assert "decompress" not in called


async def test_connections_above_the_limit_are_aborted() -> None:
    """The callback port needs the open files of the process."""
    async with listening(CollectorRegistry()) as server, asyncio.timeout(30):
        request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MAX_STATUS_CONNECTIONS)]
        assert await exchange_or_nothing(server, request) == b""
        for _, writer in silent:
            writer.close()
        while not (await exchange_or_nothing(server, request)).startswith(b"HTTP/1.1 200"):
            pass


async def exchange_or_nothing(server: StatusServer, request: bytes) -> bytes:
    try:
        return await exchange(server, request)
    except ConnectionError:
        return b""


async def test_concurrent_scrapes_leave_the_event_loop_to_other_tasks() -> None:
    registry = CollectorRegistry()
    scrapes = 0

    class CountingCollector:
        def collect(self) -> list[Metric]:
            nonlocal scrapes
            scrapes += 1
            return []

    registry.register(cast("Collector", CountingCollector()))
    most_between = 0
    async with listening(registry) as server:
        request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        scrapes_under_way = [asyncio.create_task(exchange(server, request)) for _ in range(30)]
        while not all(task.done() for task in scrapes_under_way):
            before = scrapes
            await asyncio.sleep(0)
            most_between = max(most_between, scrapes - before)
        assert all(task.result().startswith(b"HTTP/1.1 200") for task in scrapes_under_way)
    assert scrapes >= 30
    assert most_between == 1


async def test_a_refresh_reads_the_process_in_a_thread_and_a_scrape_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    collect = ProcessCollector.collect

    def recorded(collector: ProcessCollector) -> object:
        threads.append(threading.current_thread())
        return collect(collector)

    monkeypatch.setattr(ProcessCollector, "collect", recorded)
    registry = CollectorRegistry()
    metrics = ProcessMetrics(registry)
    assert registry.get_sample_value("process_cpu_seconds_total") is None
    await metrics.refresh()
    first = registry.get_sample_value("process_cpu_seconds_total")
    assert first is not None
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_python_and_its_garbage_collector_are_in_the_registry() -> None:
    registry = CollectorRegistry()
    ProcessMetrics(registry)
    assert {"python_info", "python_gc_collections"} <= {metric.name for metric in registry.collect()}
