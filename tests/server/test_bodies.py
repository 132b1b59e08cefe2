"""The memory budget for large bodies that are received at the same time."""

from __future__ import annotations

import asyncio

from tests.server.harness import CALLBACK, WAIT_SECONDS, Client, ServerHarness, post, start_server

LARGE_BYTES = 100_000
_HEAD = b"POST /wecom/bot?%s HTTP/1.1\r\nHost: x\r\n"


def chunked(size: int) -> bytes:
    return _HEAD % b"x" + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (size, bytes(size))


async def begin(harness: ServerHarness, data: bytes, *, verified: bool = False) -> Client:
    """Connect, send a part of a request, and return when the receiver has checked its head."""
    client = await harness.connect()
    if verified:
        assert (await client.ask(CALLBACK)).status == 200
    heads = len(harness.receiver.heads)
    client.send(data)
    async with asyncio.timeout(WAIT_SECONDS):
        while len(harness.receiver.heads) == heads:  # noqa: ASYNC110 - there is no event for this
            await asyncio.sleep(0)
    return client


async def test_any_number_of_small_bodies_is_received() -> None:
    async with start_server(large_bodies_bytes=LARGE_BYTES) as harness:
        clients = [await begin(harness, post(b"x", bytes(60_000))[:-1]) for _ in range(10)]
        for client in clients:
            assert (await client.ask(b"\0")).status == 200


async def test_the_largest_body_is_rejected_and_the_newest_received() -> None:
    async with start_server(large_bodies_bytes=4 * LARGE_BYTES) as harness:
        small = await begin(harness, post(b"x", bytes(LARGE_BYTES))[:-1])
        large = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1])
        newcomer = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1])
        response = await large.response()
        assert (response.status, response.headers["Connection"]) == (503, "close")
        for client in (small, newcomer):
            assert (await client.ask(b"\0")).status == 200
        assert harness.rejected == [("crowded", 503)]


async def test_of_equally_large_bodies_the_oldest_is_rejected() -> None:
    async with start_server(large_bodies_bytes=3 * LARGE_BYTES) as harness:
        first, *others = [await begin(harness, post(b"x", bytes(LARGE_BYTES))[:-1]) for _ in range(4)]
        assert (await first.response()).status == 503
        for client in others:
            assert (await client.ask(b"\0")).status == 200


async def test_the_body_on_a_verified_connection_is_not_rejected() -> None:
    async with start_server(large_bodies_bytes=2 * LARGE_BYTES) as harness:
        verified = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1], verified=True)
        unverified = await begin(harness, post(b"x", bytes(LARGE_BYTES))[:-1])
        assert (await unverified.response()).status == 503
        assert (await verified.ask(b"\0")).status == 200


async def test_an_announced_body_counts_in_full_and_a_chunked_body_as_it_grows() -> None:
    async with start_server(large_bodies_bytes=2 * LARGE_BYTES) as harness:
        announced = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:200])
        growing = await begin(harness, chunked(10))
        growing.send(b"\r\n%x\r\n%s" % (LARGE_BYTES, bytes(LARGE_BYTES)))
        assert (await announced.response()).status == 503
        assert (await growing.ask(b"\r\n0\r\n\r\n")).status == 200


async def test_a_complete_or_aborted_body_releases_its_reservation() -> None:
    async with start_server(large_bodies_bytes=LARGE_BYTES) as harness:
        client = await harness.connect()
        for _ in range(3):
            assert (await client.ask(post(b"x", bytes(LARGE_BYTES)))).status == 200
        for _ in range(3):
            leaving = await begin(harness, post(b"x", bytes(LARGE_BYTES))[:-1])
            leaving.writer.close()
            await harness.next_report()
        assert (await client.ask(post(b"x", bytes(LARGE_BYTES)))).status == 200
        assert "crowded" not in [reason for reason, _ in harness.rejected]
