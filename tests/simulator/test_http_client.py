"""HTTP requests and raw bytes to the bot."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.http_client import BotClient, cut_request, send_bytes
from tests.fakes.sites import LoopbackServer, Site, answer, hang_up, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def bot_client() -> AsyncIterator[BotClient]:
    client = BotClient(connections=4)
    try:
        yield client
    finally:
        await client.close()


async def test_the_query_is_appended_without_encoding_it_again() -> None:
    async with Site(answer(b"ok")) as site, bot_client() as client:
        found = await client.request("GET", f"{site.url}bot?a=1", query="b=%2B", within_seconds=10)
    assert (found.status, found.body, found.timed_out) == (200, b"ok", False)
    assert site.requests[0].line == "GET /bot?a=1&b=%2B HTTP/1.1"


async def test_a_redirect_is_not_followed() -> None:
    async with (
        Site(answer(b"", status="302 Found", headers="Location: /elsewhere\r\n")) as site,
        bot_client() as client,
    ):
        found = await client.request("GET", site.url, within_seconds=10)
    assert (found.status, len(site.requests)) == (302, 1)


async def test_a_missing_answer_is_status_0_and_only_a_timeout_is_marked() -> None:
    async with Site(silence) as silent, Site(hang_up) as closing, bot_client() as client:
        late = await client.request("POST", silent.url, body=b"x", within_seconds=0.05)
        lost = await client.request("POST", closing.url, body=b"x", within_seconds=10)
    assert (late.status, late.timed_out) == (0, True)
    assert (lost.status, lost.timed_out) == (0, False)


async def test_a_long_body_is_cut_to_1_mib() -> None:
    async with Site(answer(b"x" * 2_000_000)) as site, bot_client() as client:
        found = await client.request("GET", site.url, within_seconds=10)
    assert (found.status, len(found.body)) == (200, 1_048_576)


async def test_raw_bytes_return_what_arrived_until_the_timeout() -> None:
    async with Site(answer(b"ok")) as site:
        received = await send_bytes(site.url, b"GET / HTTP/1.1\r\n\r\n", within_seconds=0.2)
    assert received.endswith(b"\r\n\r\nok")


async def test_a_repr_does_not_show_the_body() -> None:
    async with Site(answer(b"canary")) as site, bot_client() as client:
        found = await client.request("GET", site.url, within_seconds=10)
    assert "canary" not in repr(found)


class Reader(LoopbackServer):
    """Reads one connection until it is reset, and keeps what came."""

    def __init__(self) -> None:
        super().__init__()
        self.read = bytearray()
        self.reset = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.read += await reader.readexactly(1)
        except ConnectionResetError:
            self.reset.set()


async def test_a_cut_request_ends_with_a_reset_before_it_is_complete() -> None:
    async with Reader() as server, asyncio.timeout(30):
        await cut_request(f"http://127.0.0.1:{server.port}/bot", query="a=1", body=b"0123456789")
        await server.reset.wait()
    assert server.read.startswith(b"POST /bot?a=1 HTTP/1.1\r\n")
    assert b"56789" not in server.read
    await cut_request(f"http://127.0.0.1:{server.port}/bot", query="a=1", body=b"0123456789")
