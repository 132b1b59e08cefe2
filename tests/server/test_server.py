"""The server as a whole: listening and stopping."""

from __future__ import annotations

import asyncio
import socket

import pytest

from maven_channel_wecom.server.server import STOP_SECONDS, CallbackServer
from tests.server.serving import CALLBACK, LINE, Receiver, post, serving


async def test_it_listens_from_start_to_stop() -> None:
    async with serving() as port:
        assert port.server.listens
        caller = await port.connect()
        assert (await caller.ask(CALLBACK)).status == 200
        assert port.server.connections == 1
        await port.server.stop()
        assert (port.server.listens, port.server.connections) == (False, 0)
        with pytest.raises(OSError):  # noqa: PT011 - whatever the system says to it
            await asyncio.open_connection("127.0.0.1", port.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"], ids=["in-use", "not-ours"])
async def test_an_address_that_cannot_be_had_is_an_error(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = CallbackServer(
            Receiver(),
            host=host,
            port=taken.getsockname()[1],
            path="/wecom/bot",
            rejected=lambda _reason, _status: None,
            dropped=lambda _reason: None,
        )
        with pytest.raises(OSError):  # noqa: PT011 - whatever the system says to it
            await server.start()
        assert not server.listens
        await server.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system keeps IPv6 and IPv4 apart")
async def test_every_address_means_both_families() -> None:
    async with serving(host="::") as port:
        for address in ("127.0.0.1", "::1"):
            caller = await port.connect(address=address)
            assert (await caller.ask(CALLBACK)).status == 200


async def test_a_stop_waits_for_an_answer_and_closes_everything_else() -> None:
    async with serving() as port:
        idle, half = await port.connect(), await port.connect(LINE + b"Content-Length: 9\r\n\r\n{")
        caller = await port.connect(post(b"later") + CALLBACK)
        await port.receiver.came.wait()
        stopping = asyncio.create_task(port.server.stop())
        assert await idle.rest() == b""
        assert await half.rest() == b""
        assert not stopping.done()
        port.receiver.answer_all()
        response = await caller.response()
        assert (response.body, response.headers["Connection"]) == (b"POST later 2", "close")
        await stopping
        assert await caller.rest() == b""
        assert len(port.receiver.requests) == 1
        assert port.rejected == []


async def test_a_stop_does_not_wait_for_ever() -> None:
    async with serving() as port:
        caller = await port.connect(post(b"later"))
        await port.receiver.came.wait()
        began = asyncio.get_running_loop().time()
        await port.server.stop()
        assert asyncio.get_running_loop().time() - began >= STOP_SECONDS * 0.9
        assert await caller.rest() == b""
        assert port.server.connections == 0
        # An answer that comes too late is nobody's.
        port.receiver.answer_all()
