"""The limits of connections: which one is closed when there are too many, and when one stays too long."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress

import pytest

from tests.server.harness import CALLBACK, LINE, post, start_server


async def test_at_the_limit_the_oldest_unverified_connection_is_closed_for_a_new_one() -> None:
    async with start_server(max_connections=3) as harness:
        idlers = [await harness.connect() for _ in range(3)]
        newcomer = await harness.connect()
        assert (await newcomer.ask(CALLBACK)).status == 200
        assert await idlers[0].rest() == b""
        assert harness.dropped == ["limit"]
        assert harness.server.connections == 3


async def test_new_connections_do_not_close_a_verified_one() -> None:
    """Unverified connections push each other out."""
    async with start_server(max_connections=3) as harness:
        verified = await harness.connect()
        assert (await verified.ask(CALLBACK)).status == 200
        for _ in range(10):
            assert (await (await harness.connect()).ask(post(b"forged"))).status == 200
        assert (await verified.ask(CALLBACK)).status == 200
        assert harness.dropped == ["limit"] * 8


async def test_an_answer_that_does_not_verify_leaves_a_connection_unverified() -> None:
    """A replayed URL check is answered with 200 and proves nothing."""
    async with start_server(max_connections=2) as harness:
        replayed = await harness.connect()
        assert (await replayed.ask(b"GET /wecom/bot?echostr HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        verified = await harness.connect()
        assert (await verified.ask(CALLBACK)).status == 200
        await harness.connect()
        assert await replayed.rest() == b""
        assert (await verified.ask(CALLBACK)).status == 200


async def test_verified_connections_in_more_than_half_of_the_places_make_room_the_longest_idle_first() -> None:
    """Otherwise they would leave no place in which a genuine client could send its callback."""
    async with start_server(max_connections=4) as harness:
        verified = [await harness.connect() for _ in range(4)]
        for each in (*verified, verified[0]):
            assert (await each.ask(CALLBACK)).status == 200
        newcomers = [await harness.connect() for _ in range(2)]
        for each in verified[1:3]:
            assert await each.rest() == b""
        for each in (verified[0], verified[3], *newcomers):
            assert (await each.ask(CALLBACK)).status == 200


async def test_a_verified_connection_that_receives_a_body_is_not_idle() -> None:
    async with start_server(max_connections=2) as harness:
        receiving, idle = await harness.connect(), await harness.connect()
        for each in (receiving, idle):
            assert (await each.ask(CALLBACK)).status == 200
        heads = len(harness.receiver.heads)
        receiving.send(CALLBACK[:-1])
        while len(harness.receiver.heads) == heads:  # noqa: ASYNC110 - there is no event for this
            await asyncio.sleep(0)
        await harness.connect()
        assert await idle.rest() == b""
        assert (await receiving.ask(CALLBACK[-1:])).status == 200


async def test_a_flood_of_any_size_leaves_idle_verified_connections_open() -> None:
    """A reverse proxy may send the next callback on any of its idle connections."""
    async with start_server(max_connections=50) as harness:
        verified = [await harness.connect() for _ in range(25)]
        for each in verified:
            assert (await each.ask(CALLBACK)).status == 200
        for _ in range(100):
            await harness.connect()
        for each in verified:
            assert (await each.ask(CALLBACK)).status == 200
        assert (await (await harness.connect()).ask(CALLBACK)).status == 200


async def test_without_a_verified_connection_the_oldest_newcomer_is_closed() -> None:
    async with start_server(max_connections=2) as harness:
        first, second = await harness.connect(), await harness.connect()
        third = await harness.connect()
        assert await first.rest() == b""
        for each in (second, third):
            assert (await each.ask(CALLBACK)).status == 200


async def test_a_newcomer_is_closed_if_all_other_connections_are_being_answered() -> None:
    async with start_server(max_connections=2) as harness:
        waiting = []
        for _ in range(2):
            harness.receiver.has_waiting.clear()
            waiting.append(await harness.connect(post(b"later")))
            await harness.receiver.has_waiting.wait()
        newcomer = await harness.connect()
        assert await newcomer.rest() == b""
        harness.receiver.answer_all()
        for client in waiting:
            assert (await client.response()).status == 200


async def test_at_most_half_of_the_files_a_process_may_open_are_connections() -> None:
    """The other half is left for the state, replies and media."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        async with start_server() as harness:
            # The server reads the limit when it starts.
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for _ in range(201):
                await harness.connect()
            assert harness.dropped == ["limit"]
            assert harness.server.connections == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /wecom/bot?gen", id="half-a-line"),
        pytest.param(LINE + b"X-A: ", id="half-a-head"),
        pytest.param(LINE + b"Content-Length: 9\r\n\r\n{", id="half-a-body"),
        pytest.param(post(b"forged"), id="a-forged-callback"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="another-path"),
    ],
)
async def test_an_unverified_connection_is_closed_at_its_time_limit_whatever_it_sent(data: bytes) -> None:
    async with start_server(unverified_seconds=0.1) as harness:
        client = await harness.connect(data)
        await client.rest()
        assert harness.dropped == ["slow"]
        assert harness.server.connections == 0


async def test_repeated_bad_requests_do_not_extend_the_time_limit() -> None:
    async with start_server(unverified_seconds=0.1) as harness:
        client = await harness.connect()
        while not harness.dropped:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await client.ask(post(b"forged"))
        assert harness.dropped == ["slow"]
        await client.rest()


async def test_a_genuine_callback_answered_with_503_verifies_its_connection() -> None:
    """While the state is unavailable, WeCom and proxies retry on their existing connections."""
    async with start_server(unverified_seconds=0.1) as harness:
        verified, other = await harness.connect(), await harness.connect()
        assert (await verified.ask(post(b"retry"))).status == 503
        await other.rest()
        assert (await verified.ask(post(b"retry"))).status == 503


async def test_a_verified_connection_may_be_idle_for_longer() -> None:
    async with start_server(unverified_seconds=0.1, idle_seconds=0.4) as harness:
        verified = await harness.connect()
        assert (await verified.ask(CALLBACK)).status == 200
        await (await harness.connect()).rest()
        assert (await verified.ask(CALLBACK)).status == 200
        assert await verified.rest() == b""
        assert harness.dropped == ["slow"]


@pytest.mark.parametrize("verified", [True, False])
async def test_no_connection_is_closed_while_its_request_is_being_answered(*, verified: bool) -> None:
    """A client is not responsible for the time that its answer takes, so newcomers push out other connections."""
    async with start_server(max_connections=2, unverified_seconds=0.1, idle_seconds=0.1) as harness:
        client = await harness.connect()
        if verified:
            assert (await client.ask(CALLBACK)).status == 200
        client.send(post(b"later"))
        await harness.receiver.has_waiting.wait()
        await (await harness.connect()).rest()
        for _ in range(3):
            await harness.connect()
        harness.receiver.answer_all()
        assert (await client.response()).status == 200


@pytest.mark.parametrize("verified", [0, 50])
async def test_a_flood_of_connections_does_not_shut_out_a_genuine_client(verified: int) -> None:
    """Not even if all places were taken by verified connections before."""
    async with start_server(max_connections=50) as harness:
        for _ in range(verified):
            assert (await (await harness.connect()).ask(CALLBACK)).status == 200
        for _ in range(20):
            flood = [await harness.connect() for _ in range(20)]
            client = await harness.connect()
            flood += [await harness.connect() for _ in range(20)]
            assert (await client.ask(CALLBACK)).status == 200
            for each in (*flood, client):
                each.writer.close()
