"""The HTTP server WeCom calls: reads a request within its limits, hands it on, writes the answer.

It serves one path, and says as little as possible to whoever calls another one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from maven_channel_wecom.errors import MalformedCallback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

BODY_BYTES: Final = 1024 * 1024
"""As in the original. Media travel by URL, so a genuine body has a few kilobytes."""

BODY_SECONDS: Final = 10.0
"""For the whole body. WeCom gives up after five; aiohttp itself sets no limit here."""

_KEEPALIVE_SECONDS: Final = 30.0
_LINGERING_SECONDS: Final = 1.0
_SHUTDOWN_SECONDS: Final = 1.0


class CallbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: dict[str, str] = {}


_RETRY_AFTER_SECONDS: Final = 5

# A caller learns nothing from a body: every cause with the same status gets the same one.
_DULL_BODIES: Final = {
    400: b"bad request",
    401: b"unauthorized",
    404: b"not found",
    405: b"method not allowed",
    408: b"request timeout",
    413: b"payload too large",
    503: b"service unavailable",
}


def dull_answer(status: int) -> CallbackAnswer:
    """Return the answer to whatever is not taken: its status and nothing about why."""
    headers = {}
    if status == 503:  # noqa: PLR2004 - service unavailable
        headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    elif status == 405:  # noqa: PLR2004 - method not allowed
        headers["Allow"] = "GET, POST"
    return CallbackAnswer(status=status, body=_DULL_BODIES.get(status, _DULL_BODIES[400]), headers=headers)


class CallbackServer:
    """A server on one path.

    `receive` gets the method, the decoded query and a function that reads the body; it answers and never raises.
    """

    def __init__(
        self,
        receive: Callable[[str, Mapping[str, str], Callable[[], Awaitable[bytes]]], Awaitable[CallbackAnswer]],
        *,
        host: str,
        port: int,
        path: str,
    ) -> None:
        self._receive = receive
        self._host = host
        self._port = port
        self._path = path
        self._runner = web.ServerRunner(_DullServer(self._handle), shutdown_timeout=_SHUTDOWN_SECONDS)

    async def start(self) -> int:
        """Listen, and return the port. OSError or ValueError when the address cannot be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except (OSError, ValueError):
            await self._runner.cleanup()
            raise
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening, let requests being answered finish for a moment, and close every connection."""
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        async def read_body() -> bytes:
            return await _read_body(request)

        if request.path != self._path:
            return _response(dull_answer(404))
        return _response(await self._receive(request.method, request.query, read_body))


class _DullServer(web.Server):
    """aiohttp's server, with a handler of ours for each connection."""

    def __call__(self) -> web.RequestHandler:
        return _DullRequestHandler(
            self,
            loop=asyncio.get_running_loop(),
            access_log=_quiet_logger(),
            logger=_quiet_logger(),
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
        )


class _DullRequestHandler(web.RequestHandler):
    """Answers what is no HTTP without repeating it: aiohttp's own page quotes the request."""

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the signature is aiohttp's
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 - the same
        message: str | None = None,  # noqa: ARG002 - the same
    ) -> web.StreamResponse:
        """Answer with the status alone, and hang up."""
        response = _response(dull_answer(status))
        response.force_close()
        return response


def _response(answer: CallbackAnswer) -> web.Response:
    # Without a Server header of ours aiohttp tells its own version and that of Python.
    headers = {"Server": "maven", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type, headers=headers)


async def _read_body(request: web.BaseRequest) -> bytes:
    """Read a body; MalformedCallback when it is too large, too slow, or its sender hung up."""
    if (request.content_length or 0) > BODY_BYTES:
        message = "the body is too large"
        raise MalformedCallback(message, reason="too_large", status=413)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = "the body is too large"
        raise MalformedCallback(message, reason="too_large", status=413) from None
    except TimeoutError:
        message = "the body took too long"
        raise MalformedCallback(message, reason="slow", status=408) from None
    except (ConnectionError, web.RequestPayloadError):
        message = "the body ended early or could not be decoded"
        raise MalformedCallback(message, reason="aborted") from None


def _quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp that is silent.

    aiohttp writes an error with a traceback for each malformed request and each client that hangs up: whoever finds
    the port could fill the disk. What concerns a callback is counted and logged where it is handled.
    """
    logger = logging.getLogger("maven_channel_wecom.transport.aiohttp_server")
    logger.setLevel(logging.CRITICAL + 1)
    return logger
