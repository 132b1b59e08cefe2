"""How many connections there may be, and which is closed when there are too many or when one stays too long."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress

import pytest

from tests.server.serving import CALLBACK, LINE, post, serving


async def test_the_newcomer_gets_in_and_the_unverified_connection_that_came_first_goes() -> None:
    async with serving(max_connections=3, newcomer_seconds=0.0) as port:
        idlers = [await port.connect() for _ in range(3)]
        newcomer = await port.connect()
        assert (await newcomer.ask(CALLBACK)).status == 200
        assert await idlers[0].rest() == b""
        assert port.dropped == ["limit"]
        assert port.server.connections == 3


async def test_a_verified_connection_stays_when_others_come() -> None:
    """Unverified connections push out each other."""
    async with serving(max_connections=3, newcomer_seconds=0.0) as port:
        verified = await port.connect()
        assert (await verified.ask(CALLBACK)).status == 200
        for _ in range(10):
            assert (await (await port.connect()).ask(post(b"forged"))).status == 200
        assert (await verified.ask(CALLBACK)).status == 200
        assert port.dropped == ["limit"] * 8


async def test_an_answer_that_does_not_verify_leaves_a_connection_unverified() -> None:
    """A repeated URL check is answered 200 and proves nothing."""
    async with serving(max_connections=2, newcomer_seconds=0.0) as port:
        replayed = await port.connect()
        assert (await replayed.ask(b"GET /wecom/bot?echostr HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
        verified = await port.connect()
        assert (await verified.ask(CALLBACK)).status == 200
        await port.connect()
        assert await replayed.rest() == b""
        assert (await verified.ask(CALLBACK)).status == 200


async def test_a_newcomer_is_spared_and_the_verified_connection_that_is_idle_longest_goes() -> None:
    """A flood of connections must leave a genuine caller the time to send its callback."""
    async with serving(max_connections=3, newcomer_seconds=60.0) as port:
        first, second = await port.connect(), await port.connect()
        for each in (first, second, first):
            assert (await each.ask(CALLBACK)).status == 200
        newcomer = await port.connect()
        await port.connect()
        assert await second.rest() == b""
        assert (await first.ask(CALLBACK)).status == 200
        assert (await newcomer.ask(CALLBACK)).status == 200


async def test_without_a_verified_connection_the_oldest_newcomer_goes() -> None:
    async with serving(max_connections=2, newcomer_seconds=60.0) as port:
        first, second = await port.connect(), await port.connect()
        third = await port.connect()
        assert await first.rest() == b""
        for each in (second, third):
            assert (await each.ask(CALLBACK)).status == 200


async def test_when_all_others_are_being_answered_the_newcomer_goes() -> None:
    async with serving(max_connections=2, newcomer_seconds=0.0) as port:
        waiting = []
        for _ in range(2):
            port.receiver.came.clear()
            waiting.append(await port.connect(post(b"later")))
            await port.receiver.came.wait()
        newcomer = await port.connect()
        assert await newcomer.rest() == b""
        port.receiver.answer_all()
        for caller in waiting:
            assert (await caller.response()).status == 200


async def test_at_most_half_of_the_files_a_process_may_open_are_connections() -> None:
    """The other half is for the state, for replies and for media."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        async with serving(newcomer_seconds=0.0) as port:
            # It is read when the server starts.
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for _ in range(201):
                await port.connect()
            assert port.dropped == ["limit"]
            assert port.server.connections == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "sending",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /wecom/bot?gen", id="half-a-line"),
        pytest.param(LINE + b"X-A: ", id="half-a-head"),
        pytest.param(LINE + b"Content-Length: 9\r\n\r\n{", id="half-a-body"),
        pytest.param(post(b"forged"), id="a-forged-callback"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="another-path"),
    ],
)
async def test_an_unverified_connection_is_closed_after_its_time_whatever_it_sent(sending: bytes) -> None:
    async with serving(unverified_seconds=0.1) as port:
        caller = await port.connect(sending)
        await caller.rest()
        assert port.dropped == ["slow"]
        assert port.server.connections == 0


async def test_bad_requests_one_after_the_other_gain_no_time() -> None:
    async with serving(unverified_seconds=0.1) as port:
        caller = await port.connect()
        while not port.dropped:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await caller.ask(post(b"forged"))
        assert port.dropped == ["slow"]
        await caller.rest()


async def test_a_genuine_callback_that_is_turned_away_verifies() -> None:
    """While the state is unavailable, WeCom and proxies retry on the connections they have."""
    async with serving(unverified_seconds=0.1) as port:
        verified, other = await port.connect(), await port.connect()
        assert (await verified.ask(post(b"retry"))).status == 503
        await other.rest()
        assert (await verified.ask(post(b"retry"))).status == 503


async def test_a_verified_connection_may_be_idle_for_longer() -> None:
    async with serving(unverified_seconds=0.1, idle_seconds=0.4) as port:
        verified = await port.connect()
        assert (await verified.ask(CALLBACK)).status == 200
        await (await port.connect()).rest()
        assert (await verified.ask(CALLBACK)).status == 200
        assert await verified.rest() == b""
        assert port.dropped == ["slow"]


@pytest.mark.parametrize("verified", [True, False])
async def test_no_connection_is_closed_while_its_request_is_answered(*, verified: bool) -> None:
    """The time an answer takes is not the caller's fault, and newcomers push out others."""
    async with serving(max_connections=2, unverified_seconds=0.1, idle_seconds=0.1, newcomer_seconds=0.0) as port:
        caller = await port.connect()
        if verified:
            assert (await caller.ask(CALLBACK)).status == 200
        caller.send(post(b"later"))
        await port.receiver.came.wait()
        await (await port.connect()).rest()
        for _ in range(3):
            await port.connect()
        port.receiver.answer_all()
        assert (await caller.response()).status == 200


async def test_a_flood_of_connections_shuts_out_no_genuine_caller() -> None:
    async with serving(max_connections=50) as port:
        for _ in range(20):
            flood = [await port.connect() for _ in range(20)]
            caller = await port.connect()
            flood += [await port.connect() for _ in range(20)]
            assert (await caller.ask(CALLBACK)).status == 200
            for each in (*flood, caller):
                each.writer.close()
