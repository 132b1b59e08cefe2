"""The memory budget for large bodies that are received at the same time."""

from __future__ import annotations

import asyncio
import socket
import struct

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


async def test_the_body_that_began_first_is_rejected_and_a_larger_and_newer_one_received() -> None:
    async with start_server(large_bodies_bytes=4 * LARGE_BYTES) as harness:
        first, *others = [await begin(harness, post(b"x", bytes(LARGE_BYTES))[:-1]) for _ in range(3)]
        newest = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1])
        response = await first.response()
        assert (response.status, response.headers["Connection"]) == (503, "close")
        for client in (*others, newest):
            assert (await client.ask(b"\0")).status == 200
        assert harness.rejected == [("crowded", 503)]


async def test_a_body_that_grows_late_counts_as_begun_at_its_head() -> None:
    """A client could otherwise prepare many small bodies and let them grow all at once."""
    async with start_server(large_bodies_bytes=2 * LARGE_BYTES) as harness:
        prepared = await begin(harness, post(b"x", bytes(LARGE_BYTES))[:200])
        genuine = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1])
        prepared.send(bytes(LARGE_BYTES // 2 + 20_000))
        assert (await prepared.response()).status == 503
        assert (await genuine.ask(b"\0")).status == 200


async def test_the_body_on_a_verified_connection_is_not_rejected() -> None:
    async with start_server(large_bodies_bytes=2 * LARGE_BYTES) as harness:
        verified = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1], verified=True)
        unverified = await begin(harness, post(b"x", bytes(LARGE_BYTES))[:-1])
        assert (await unverified.response()).status == 503
        assert (await verified.ask(b"\0")).status == 200


async def test_only_what_has_arrived_of_a_body_counts() -> None:
    """An announced body that does not arrive costs the others nothing, and a chunked body counts as it grows."""
    async with start_server(large_bodies_bytes=2 * LARGE_BYTES) as harness:
        announced = [await begin(harness, post(b"x", bytes(LARGE_BYTES))[:200]) for _ in range(100)]
        filling = await begin(harness, post(b"x", bytes(2 * LARGE_BYTES))[:-1])
        growing = await begin(harness, chunked(10))
        growing.send(b"\r\n%x\r\n%s" % (LARGE_BYTES, bytes(LARGE_BYTES)))
        assert (await filling.response()).status == 503
        assert (await growing.ask(b"\r\n0\r\n\r\n")).status == 200
        assert (await announced[0].ask(post(b"x", bytes(LARGE_BYTES))[200:])).status == 200


async def test_a_complete_body_counts_until_its_request_is_answered_even_if_its_client_has_left() -> None:
    async with start_server(large_bodies_bytes=2 * LARGE_BYTES) as harness:
        leaving = await harness.connect(post(b"later", bytes(2 * LARGE_BYTES)))
        await harness.receiver.has_waiting.wait()
        # Close with a reset: the server answers a client that has only stopped sending.
        linger = struct.pack("ii", 1, 0)
        leaving.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        leaving.writer.close()
        await harness.all_closed()
        client = await harness.connect()
        assert (await client.ask(post(b"x", bytes(LARGE_BYTES)))).status == 503
        harness.receiver.answer_all()
        assert (await (await harness.connect()).ask(post(b"x", bytes(LARGE_BYTES)))).status == 200


async def test_slow_clients_that_announce_large_bodies_do_not_affect_large_bodies() -> None:
    async with start_server() as harness:
        for _ in range(600):
            await harness.connect(post(b"x", bytes(66_000))[:200])
        for _ in range(60):
            client = await harness.connect()
            request = post(b"x", bytes(200_000))
            client.send(request[:100_000])
            await client.writer.drain()
            assert (await client.ask(request[100_000:])).status == 200


async def test_idle_bodies_that_fill_the_limit_do_not_affect_bodies_that_arrive() -> None:
    async with start_server(large_bodies_bytes=40 * LARGE_BYTES) as harness:
        for _ in range(60):
            await harness.connect(post(b"x", bytes(LARGE_BYTES))[:-1])
        for _ in range(20):
            assert (await (await harness.connect()).ask(post(b"x", bytes(2 * LARGE_BYTES)))).status == 200


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
