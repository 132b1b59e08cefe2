"""The simulator's HTTP server."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from maven_channel_wecom.simulator.listening import CannotListen, listen


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


async def test_a_port_in_use_is_one_sentence() -> None:
    runner, url = await listen(application(), "127.0.0.1", 0)
    port = int(url.rpartition(":")[2])
    with pytest.raises(CannotListen, match=rf"^cannot listen on 127.0.0.1 port {port}: Address already in use$"):
        await listen(application(), "127.0.0.1", port)
    await runner.cleanup()


@pytest.mark.parametrize("host", ["a b", "x" * 300, "..", "[::1]"])
async def test_a_host_that_is_no_name_is_one_sentence(host: str) -> None:
    with pytest.raises(CannotListen) as caught:
        await listen(application(), host, 0)
    assert str(caught.value) == f"cannot listen on {host} port 0: no such name"


async def test_a_handler_that_is_cancelled_ends_with_its_connection() -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", wait)
    runner, url = await listen(app, "127.0.0.1", 0, cancels_handlers=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(10):
        await entered.wait()
        writer.close()
        await ended.wait()
    assert await reader.read() == b""
    await runner.cleanup()
