"""Starts an HTTP server: the simulator's, an agent's, or the one of the playground."""

from __future__ import annotations

from aiohttp import web

_STOP_SECONDS = 0.1


async def listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Serve an application, and return its runner, which stops it, and its URL without a trailing slash.

    Raises:
        OSError: the address cannot be bound.
    """
    # An access log would contain every response code.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    host, port = runner.addresses[0][:2]
    return runner, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
