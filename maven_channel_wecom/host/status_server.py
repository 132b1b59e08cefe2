"""`/metrics`, `/healthz` and `/readyz` for those who run the host. No channel listens here."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web
from prometheus_client import generate_latest

from maven_channel_wecom.host.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.typedefs import Handler
    from prometheus_client import CollectorRegistry

    from maven_channel_wecom.host.configuration import Gateway

logger = logging.getLogger(__name__)

# aiohttp writes a traceback for each request that is no HTTP, and whoever finds the port could fill the disk.
_silent = logging.getLogger(f"{__name__}.aiohttp")
_silent.setLevel(logging.CRITICAL + 1)

# What generate_latest writes unless told otherwise, in every version of the client library we support. Its own
# aiohttp handler came with 0.23, and its choice by Accept header fails on versions that are no numbers.
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SHUTDOWN_SECONDS = 1

STATUS_TIMEOUT_SECONDS: Final = 15.0
"""For the head of a request, for an answer to be read, and for the next request.

Without it, aiohttp keeps the connection of a client that does not read, and the answer in memory, for ever. Lower: a
scrape over a slow network is cut off.
"""

_BODY_BYTES: Final = 4 * 1024
"""No request here needs a body; some clients send a small one all the same. Lower: those are refused."""

_LINGERING_SECONDS: Final = 1.0
"""For a body that nobody reads, before its connection is closed: closed at once, the answer could be lost."""


MAX_STATUS_CONNECTIONS: Final = 64
"""At once. Lower: several monitors and balancers shut each other out. Higher: silent connections take the files that
the callback port needs."""


class StatusServerError(Exception):
    """The status server could not start. The text is one sentence that names the key to change."""


class StatusServer:
    """Listens on `gateway.host` and `gateway.port`; `reasons` returns why the host is not ready, nothing when it is."""

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
        self._scraping = asyncio.Lock()
        self.port = settings.port

    async def start(self) -> None:
        """Listen; `port` is the real one afterwards. Raises StatusServerError."""
        app = web.Application(middlewares=[self._answer_in_time])
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/healthz", self._show_health)
        app.router.add_get("/readyz", self._show_readiness)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_silent,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=self._timeout_seconds,
            lingering_time=min(self._timeout_seconds, _LINGERING_SECONDS),
            # aiohttp would decompress what comes behind a refused head, without yielding to the event loop.
            auto_decompress=False,
        )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - there is one after `setup`

        def connect() -> asyncio.Protocol:
            return server() if len(server.connections) < MAX_STATUS_CONNECTIONS else _AbortedConnection()

        try:
            self._listener = await asyncio.get_running_loop().create_server(
                connect, self._settings.host, self._settings.port
            )
        except OSError as error:
            await self.stop()
            raise StatusServerError(self._failure(error)) from None
        self.port = self._listener.sockets[0].getsockname()[1]
        logger.info("gateway status server listening", extra={"fields": {"port": self.port}})

    async def stop(self) -> None:
        """Close the port."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _answer_in_time(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer, and close the connection of a client that does not read the answer."""
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

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        # One in each iteration of the event loop, as it takes some milliseconds: a hundred would stop the callbacks.
        async with self._scraping:
            await self._process.refresh()
            body = generate_latest(self._metrics)
            await asyncio.sleep(0)
        return web.Response(body=body, headers={"Content-Type": _METRICS_TYPE})

    async def _show_health(self, _request: web.Request) -> web.Response:
        # Whatever could be wrong with the loop, this line would not be reached.
        return web.json_response({"status": "ok", "reasons": []})

    async def _show_readiness(self, _request: web.Request) -> web.Response:
        reasons = list(await self._reasons())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    def _failure(self, error: OSError) -> str:
        host = self._settings.host
        address = f"{f'[{host}]' if ':' in host else host}:{self._settings.port}"
        match error.errno:
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
        return f"the status server cannot listen on {address}: no address of this machine; change gateway.host"


class _AbortedConnection(asyncio.Protocol):
    """One connection too many: it is aborted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


def _refusal(request: web.Request) -> web.StreamResponse | None:
    """Return the answer to a request with a body that is coded, large or of unknown length; None for all others."""
    refusal: web.HTTPException
    if request.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        refusal = web.HTTPUnsupportedMediaType(headers={"Accept-Encoding": "identity"})
    elif "Transfer-Encoding" in request.headers or (request.content_length or 0) > _BODY_BYTES:
        refusal = web.HTTPRequestEntityTooLarge(_BODY_BYTES, request.content_length or 0)
    else:
        return None
    refusal.force_close()
    return refusal
