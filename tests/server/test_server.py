"""Starting and stopping the server."""

from __future__ import annotations

import asyncio
import socket

import pytest

from maven_channel_wecom.server.server import STOP_SECONDS, CallbackServer
from tests.server.harness import CALLBACK, LINE, EchoReceiver, post, start_server


async def test_the_server_listens_from_start_to_stop() -> None:
    async with start_server() as harness:
        assert harness.server.listens
        client = await harness.connect()
        assert (await client.ask(CALLBACK)).status == 200
        assert harness.server.connections == 1
        await harness.server.stop()
        assert (harness.server.listens, harness.server.connections) == (False, 0)
        with pytest.raises(OSError):  # noqa: PT011 - the error depends on the system
            await asyncio.open_connection("127.0.0.1", harness.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"], ids=["in-use", "not-on-this-machine"])
async def test_an_unavailable_address_raises(host: str) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        server = CallbackServer(
            EchoReceiver(),
            host=host,
            port=occupied.getsockname()[1],
            path="/wecom/bot",
            idle_seconds=60,
            rejected=lambda _reason, _status: None,
            dropped=lambda _reason: None,
        )
        with pytest.raises(OSError):  # noqa: PT011 - the error depends on the system
            await server.start()
        assert not server.listens
        await server.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no dual-stack sockets")
async def test_the_unspecified_ipv6_address_includes_ipv4() -> None:
    async with start_server(host="::") as harness:
        for address in ("127.0.0.1", "::1"):
            client = await harness.connect(address=address)
            assert (await client.ask(CALLBACK)).status == 200


async def test_a_stop_waits_for_an_answer_and_closes_everything_else() -> None:
    async with start_server() as harness:
        idle, half = await harness.connect(), await harness.connect(LINE + b"Content-Length: 9\r\n\r\n{")
        client = await harness.connect(post(b"later") + CALLBACK)
        await harness.receiver.has_waiting.wait()
        stopping = asyncio.create_task(harness.server.stop())
        assert await idle.rest() == b""
        assert await half.rest() == b""
        assert not stopping.done()
        harness.receiver.answer_all()
        response = await client.response()
        assert (response.body, response.headers["Connection"]) == (b"POST later 2", "close")
        await stopping
        assert await client.rest() == b""
        assert len(harness.receiver.requests) == 1
        assert harness.rejected == []


async def test_a_stop_waits_no_longer_than_its_limit() -> None:
    async with start_server() as harness:
        client = await harness.connect(post(b"later"))
        await harness.receiver.has_waiting.wait()
        began = asyncio.get_running_loop().time()
        await harness.server.stop()
        assert asyncio.get_running_loop().time() - began >= STOP_SECONDS * 0.9
        assert await client.rest() == b""
        assert harness.server.connections == 0
        # A late answer is discarded.
        harness.receiver.answer_all()
