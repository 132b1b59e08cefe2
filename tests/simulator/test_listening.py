"""The simulator's HTTP server."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from maven_channel_wecom.simulator.listening import listen


async def answer(_: web.Request) -> web.Response:
    return web.Response(text="here")


def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/", answer)
    return app


@pytest.mark.parametrize(("host", "prefix"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
async def test_the_url_leads_to_the_application(host: str, prefix: str) -> None:
    runner, url = await listen(application(), host, 0)
    async with aiohttp.ClientSession() as session, session.get(f"{url}/") as response:
        assert await response.text() == "here"
    assert url.startswith(prefix)
    await runner.cleanup()


async def test_a_port_in_use_is_an_error() -> None:
    runner, url = await listen(application(), "127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await listen(application(), "127.0.0.1", int(url.rpartition(":")[2]))
    await runner.cleanup()
