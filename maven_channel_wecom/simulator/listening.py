"""Starts an HTTP server: the simulator's, an agent's, or the one of the playground."""

from __future__ import annotations

import errno
import os
import socket

from aiohttp import web

_STOP_SECONDS = 0.1


class CannotListen(Exception):
    """An address cannot be bound. The text is one sentence without a full stop."""


async def listen(
    app: web.Application, host: str, port: int, *, cancels_handlers: bool = False
) -> tuple[web.AppRunner, str]:
    """Serve an application, and return its runner, which stops it, and its URL without a trailing slash.

    Args:
        app: the application.
        host: the address.
        port: its port; 0 for any free one.
        cancels_handlers: whether a request handler ends with its connection. aiohttp may log an InvalidStateError about
            one that ends just when the runner stops to wait for it.

    Raises:
        CannotListen: the address cannot be bound.
    """
    # An access log would contain every response code.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS, handler_cancellation=cancels_handlers)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        host, port = runner.addresses[0][:2]
    except (OSError, UnicodeError, IndexError) as error:
        await runner.cleanup()
        text = f"cannot listen on {host} port {port}: {_reason(error)}"
        raise CannotListen(text) from None
    return runner, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _reason(error: Exception) -> str:
    match error:
        case socket.gaierror() | UnicodeError():
            return "no such name"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            # asyncio skips every address for which the system gives it no socket. From Python 3.13 on it then raises
            # an OSError without a number; before, the server has no address.
            return os.strerror(errno.EMFILE)
