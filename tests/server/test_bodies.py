"""Large bodies that are received at the same time."""

from __future__ import annotations

import asyncio

from tests.server.serving import CALLBACK, WAIT_SECONDS, Caller, Serving, post, serving

LARGE = 100_000
_HEAD = b"POST /wecom/bot?%s HTTP/1.1\r\nHost: x\r\n"


def chunked(size: int) -> bytes:
    return _HEAD % b"x" + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (size, bytes(size))


async def begin(port: Serving, data: bytes, *, verified: bool = False) -> Caller:
    """Connect, send a part of a request, and return when its head has been judged."""
    caller = await port.connect()
    if verified:
        assert (await caller.ask(CALLBACK)).status == 200
    heads = len(port.receiver.heads)
    caller.send(data)
    async with asyncio.timeout(WAIT_SECONDS):
        while len(port.receiver.heads) == heads:  # noqa: ASYNC110 - nothing tells that the body is waited for
            await asyncio.sleep(0)
    return caller


async def test_any_number_of_small_bodies_is_received() -> None:
    async with serving(large_bodies_bytes=LARGE) as port:
        callers = [await begin(port, post(b"x", bytes(60_000))[:-1]) for _ in range(10)]
        for caller in callers:
            assert (await caller.ask(b"\0")).status == 200


async def test_the_largest_goes_and_the_newcomer_stays() -> None:
    async with serving(large_bodies_bytes=4 * LARGE) as port:
        small = await begin(port, post(b"x", bytes(LARGE))[:-1])
        large = await begin(port, post(b"x", bytes(2 * LARGE))[:-1])
        newcomer = await begin(port, post(b"x", bytes(2 * LARGE))[:-1])
        response = await large.response()
        assert (response.status, response.headers["Connection"]) == (503, "close")
        for caller in (small, newcomer):
            assert (await caller.ask(b"\0")).status == 200
        assert port.rejected == [("crowded", 503)]


async def test_of_equals_the_oldest_goes() -> None:
    async with serving(large_bodies_bytes=3 * LARGE) as port:
        first, *others = [await begin(port, post(b"x", bytes(LARGE))[:-1]) for _ in range(4)]
        assert (await first.response()).status == 503
        for caller in others:
            assert (await caller.ask(b"\0")).status == 200


async def test_the_body_of_a_verified_connection_stays() -> None:
    async with serving(large_bodies_bytes=2 * LARGE) as port:
        verified = await begin(port, post(b"x", bytes(2 * LARGE))[:-1], verified=True)
        stranger = await begin(port, post(b"x", bytes(LARGE))[:-1])
        assert (await stranger.response()).status == 503
        assert (await verified.ask(b"\0")).status == 200


async def test_an_announced_body_counts_before_it_comes_and_one_in_chunks_as_it_grows() -> None:
    async with serving(large_bodies_bytes=2 * LARGE) as port:
        announced = await begin(port, post(b"x", bytes(2 * LARGE))[:200])
        growing = await begin(port, chunked(10))
        growing.send(b"\r\n%x\r\n%s" % (LARGE, bytes(LARGE)))
        assert (await announced.response()).status == 503
        assert (await growing.ask(b"\r\n0\r\n\r\n")).status == 200


async def test_a_body_that_came_in_full_or_broke_off_occupies_nothing() -> None:
    async with serving(large_bodies_bytes=LARGE) as port:
        caller = await port.connect()
        for _ in range(3):
            assert (await caller.ask(post(b"x", bytes(LARGE)))).status == 200
        for _ in range(3):
            leaving = await begin(port, post(b"x", bytes(LARGE))[:-1])
            leaving.writer.close()
            await port.next_report()
        assert (await caller.ask(post(b"x", bytes(LARGE)))).status == 200
        assert "crowded" not in [reason for reason, _ in port.rejected]
