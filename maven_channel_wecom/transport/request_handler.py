"""What of a request aiohttp handles itself: its protocol, made as quiet and as dull as the rest of the port."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiohttp import web

from maven_channel_wecom.transport.callback_answer import SERVER, dull_answer
from maven_channel_wecom.transport.connections import IDLE_SECONDS

if TYPE_CHECKING:
    from maven_channel_wecom.transport.callback_answer import CallbackAnswer
    from maven_channel_wecom.transport.connections import Connections, Peer

_LINGERING_SECONDS: Final = 1.0


class DullRequestHandler(web.RequestHandler):
    """Answers what is no HTTP without repeating it: aiohttp's own page quotes the request."""

    def __init__(self, manager: web.Server, peer: Peer, connections: Connections) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=_quiet_logger(),
            logger=_quiet_logger(),
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
        )
        self._peer = peer
        self._connections = connections
        self._broken: BaseException | None = None

    def trust(self) -> None:
        """Note that a genuine callback came here."""
        self._connections.trust(self._peer)

    def data_received(self, data: bytes) -> None:
        """See Protocol. Behind what is no HTTP nothing is read, and nothing of a body comes any more.

        aiohttp tells nobody who waits for the rest of a body that its chunks are broken, and makes an error of them
        again at each look for more.
        """
        if self._broken is not None:
            return
        super().data_received(data)
        if self._messages:
            self._broken = getattr(self._messages[-1][0], "exc", None)
        if self._broken is None:
            return
        bodies = [body for _, body in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        for body in bodies:
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError())

    def connection_lost(self, exc: BaseException | None) -> None:
        """See Protocol."""
        self._connections.remove(self._peer)
        super().connection_lost(exc)
        # Behind a broken body nobody is told of it.
        forget_frames(self._broken)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the signature is aiohttp's
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the same
    ) -> web.StreamResponse:
        """Answer with the status alone, and hang up."""
        forget_frames(exc)
        dull = response(dull_answer(status))
        dull.force_close()
        return dull


def response(answer: CallbackAnswer) -> web.Response:
    """Return an answer as aiohttp writes it."""
    headers = {"Server": SERVER, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type, headers=headers)


def forget_frames(error: BaseException | None) -> None:
    """Let go of what an error of aiohttp's holds: it refers to itself by way of the connection and all it received.

    Else both stay until a full collection of garbage, and a flood of such requests brings more than that takes away.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp that is silent.

    aiohttp writes an error with a traceback for each malformed request and each client that hangs up: whoever finds
    the port could fill the disk. What concerns a callback is counted and logged where it is handled.
    """
    logger = logging.getLogger("maven_channel_wecom.transport.aiohttp_server")
    logger.setLevel(logging.CRITICAL + 1)
    return logger
