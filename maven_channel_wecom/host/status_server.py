"""Serves `/metrics`, `/healthz` and `/readyz` to the operators of a host. No channel listens on this port."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from aiohttp.typedefs import Handler
    from prometheus_client import CollectorRegistry, Metric

    from maven_channel_wecom.host.configuration import Gateway

logger = logging.getLogger(__name__)

# aiohttp logs a traceback for each request that is not HTTP, so any client could fill the disk.
_silent_logger = logging.getLogger(f"{__name__}.aiohttp")
_silent_logger.setLevel(logging.CRITICAL + 1)

# The default format of generate_latest in all versions of prometheus_client that we support. The library's own aiohttp
# handler has existed since 0.23, and fails on an Accept header with a version that is not a number.
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SHUTDOWN_SECONDS = 1

STATUS_TIMEOUT_SECONDS: Final = 15.0
"""Timeout for the head of a request, for sending an answer, and for the next request.

Without it, aiohttp keeps the connection of a client that does not read, and the answer in memory, forever. Lower: a
scrape over a slow network is cut off.
"""

_MAX_BODY_BYTES: Final = 4 * 1024
"""Maximum size of a request body. No request needs one, but some clients send a small one. Lower: they are refused."""

_LINGERING_SECONDS: Final = 1.0
"""Maximum time to receive an unread request body before its connection is closed. Closing at once could lose the
answer."""


MAX_STATUS_CONNECTIONS: Final = 64
"""Maximum number of connections. Lower: several monitors and load balancers shut each other out. Higher: idle
connections use up the open files that the callback port needs."""


class StatusServerError(Exception):
    """The status server could not start. Its text is one sentence that names the key to change."""


class ProcessMetrics(Collector):
    """The metrics of this process, from Python and the operating system, in the registry of the host.

    A scrape gets what `refresh` read last: an event loop that serves callbacks must read no files, not even in /proc.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._process = ProcessCollector(registry=None)
        self._last_read: list[Metric] = []
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(self)

    async def refresh(self) -> None:
        """Read the metrics of the process again, in a thread."""
        self._last_read = await asyncio.to_thread(lambda: list(self._process.collect()))

    def collect(self) -> Iterable[Metric]:
        return self._last_read


class StatusServer:
    """An HTTP server on `gateway.host` and `gateway.port`. `reasons` returns why the host is not ready."""

    def __init__(
        self,
        settings: Gateway,
        metrics: CollectorRegistry,
        reasons: Callable[[], Awaitable[Sequence[str]]],
        *,
        timeout_seconds: float = STATUS_TIMEOUT_SECONDS,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._process = ProcessMetrics(metrics)
        self._reasons = reasons
        self._timeout_seconds = timeout_seconds
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._scrape_lock = asyncio.Lock()
        self.port = settings.port

    async def start(self) -> None:
        """Start listening; `port` is the actual port from then on. Raises StatusServerError."""
        app = web.Application(middlewares=[self._answer_with_timeout])
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_readiness)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_silent_logger,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=self._timeout_seconds,
            lingering_time=min(self._timeout_seconds, _LINGERING_SECONDS),
            # aiohttp would decompress the body of a refused request without yielding to the event loop.
            auto_decompress=False,
        )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - `setup` created it

        def connect() -> asyncio.Protocol:
            return server() if len(server.connections) < MAX_STATUS_CONNECTIONS else _AbortedConnection()

        try:
            self._listener = await self._listen(connect)
        # ValueError is raised for a host name that cannot be encoded, and for `::` on a machine without IPv6.
        except (OSError, ValueError) as error:
            await self.stop()
            raise StatusServerError(self._listen_error(error)) from None
        self.port = self._listener.sockets[0].getsockname()[1]
        logger.info("gateway status server listening", extra={"fields": {"port": self.port}})

    async def _listen(self, connect: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        host, port = self._settings.host, self._settings.port
        if host == "::":
            # It stands for every address; asyncio alone would listen on IPv6 only.
            sock = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
            return await loop.create_server(connect, sock=sock)
        return await loop.create_server(connect, host, port)

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _answer_with_timeout(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, and abort the connection of a client that does not read the answer."""
        response = _refusal(request)
        if response is None:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = error
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        # One scrape per event-loop iteration: each takes some milliseconds, and a hundred would block callbacks.
        async with self._scrape_lock:
            await self._process.refresh()
            body = generate_latest(self._metrics)
            await asyncio.sleep(0)
        return web.Response(body=body, headers={"Content-Type": _METRICS_TYPE})

    async def _get_health(self, _request: web.Request) -> web.Response:
        # Being able to answer is the check: it shows that the event loop runs.
        return web.json_response({"status": "ok", "reasons": []})

    async def _get_readiness(self, _request: web.Request) -> web.Response:
        reasons = list(await self._reasons())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    def _listen_error(self, error: OSError | ValueError) -> str:
        host = self._settings.host
        address = f"{f'[{host}]' if ':' in host else host}:{self._settings.port}"
        match error.errno if isinstance(error, OSError) else None:
            case errno.EADDRINUSE:
                return (
                    f"the status server cannot listen on {address}: the port is in use; "
                    "stop the program that uses it, or change gateway.port"
                )
            case errno.EACCES:
                return (
                    f"the status server may not listen on {address}: ports below 1024 need a privilege; "
                    "change gateway.port"
                )
        return f"the status server cannot listen on {address}: not an address of this machine; change gateway.host"


class _AbortedConnection(asyncio.Protocol):
    """A connection above the limit, aborted as soon as it is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


def _refusal(request: web.Request) -> web.StreamResponse | None:
    """Return the answer to a request whose body is encoded, large or of unknown length; None for any other."""
    refusal: web.HTTPException
    if request.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        refusal = web.HTTPUnsupportedMediaType(headers={"Accept-Encoding": "identity"})
    elif "Transfer-Encoding" in request.headers or (request.content_length or 0) > _MAX_BODY_BYTES:
        refusal = web.HTTPRequestEntityTooLarge(_MAX_BODY_BYTES, request.content_length or 0)
    else:
        return None
    refusal.force_close()
    return refusal
