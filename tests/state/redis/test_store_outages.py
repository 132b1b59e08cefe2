"""Redis is dead, frozen, full, not writable or not ours: a definite answer fast, a sentence, healing by itself."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.state.redis.connection import COMMAND_TIMEOUT_SECONDS, CONNECTIONS
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas, frozen, healed, let_replicas_be_silent
from tests.fakes.redis_server import RedisServer
from tests.state.messages import CHAT, NOW, admit, claim, take_over_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from maven_channel_wecom.state.redis.store import RedisStateStore

SILENCE = 60.0

# Far more than the two attempts of 0.2 s, as the machine may be busy; far less than hanging.
DEFINITE_SECONDS = 10.0


@pytest.fixture(scope="module")
def _own_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def server(_own_server: RedisServer) -> RedisServer:
    with suppress(OSError):
        await _own_server.command("PING")
    await _own_server.command("FLUSHALL")
    return _own_server


@pytest.fixture
async def opened() -> AsyncIterator[Replicas]:
    async with Replicas() as opened:
        yield opened


async def outcomes(store: RedisStateStore, messages: range) -> list[object]:
    """Admit many at once; each has a definite outcome in time."""
    async with asyncio.timeout(DEFINITE_SECONDS):
        return await asyncio.gather(*(admit(store, f"m{number}") for number in messages), return_exceptions=True)


async def connections(server: RedisServer) -> set[str]:
    """Name the connections there are, but for the one that asks."""
    clients = (await server.command("CLIENT", "LIST")).decode().splitlines()
    return {client.split()[0] for client in clients if "cmd=client|list" not in client}


async def test_a_dead_redis_is_told_at_once_and_healed_without_callers(server: RedisServer, opened: Replicas) -> None:
    """A step that needs no promise goes on; others are refused; restarted empty it is as good as new."""
    store = await opened.open(server.address())
    await admit(store, "in-progress")
    claimed = await claim(store, "in-progress")
    server.stop()
    assert all(isinstance(outcome, StateUnavailable) for outcome in await outcomes(store, range(200)))
    for step in (store.take_over(NOW), store.claim_window([CHAT], None, NOW)):
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await step
    await store.spend_window(claimed, NOW)
    await store.finish("in-progress", NOW)
    assert await store.health() == "the state's Redis cannot be reached: start it, or correct the address"
    await server.restart()
    await healed(store)
    assert await outcomes(store, range(200)) == [True] * 200


async def test_a_redis_restarted_empty_costs_live_replicas_nothing(server: RedisServer, opened: Replicas) -> None:
    """They still have their messages in progress, and recognize them; only the windows are gone with Redis."""
    store = await opened.open(server.address())
    for number in range(3):
        await admit(store, f"m{number}")
    claimed = await claim(store, "m2")
    await server.command("FLUSHALL")
    assert not await admit(store, "m0")
    assert await store.claim_window([CHAT], "m0", NOW) is None
    assert await store.take_over(NOW) == []
    await store.restore_window(claimed, NOW)
    await store.spend_window(claimed, NOW)
    for number in range(3):
        await store.finish(f"m{number}", NOW)
    assert await store.health() is None


async def test_a_frozen_redis_loses_nothing_that_it_runs_when_it_thaws(server: RedisServer, opened: Replicas) -> None:
    """It may run admissions answered 503 long ago; then repeats are duplicates, and the messages are taken over."""
    store = await opened.open(server.address(), answer_seconds=COMMAND_TIMEOUT_SECONDS)
    await admit(store, "warm")
    async with frozen(server):
        for first in range(0, 300, 100):
            assert all(
                isinstance(outcome, StateUnavailable) for outcome in await outcomes(store, range(first, first + 100))
            )
        assert "in time" in (await store.health() or "")
        started = time.monotonic()
        for number in range(100):
            with pytest.raises(StateUnavailable):
                await admit(store, f"late{number}")
        # The breaker is open: callers do not wait for Redis any more, but for one now and then that tries it.
        assert time.monotonic() - started < DEFINITE_SECONDS
    await healed(store)
    assert await admit(store, "after")
    # With a longer time for an answer: three hundred at once may take more on a busy machine.
    other = await opened.open(server.address())
    repeated = await outcomes(other, range(300))
    assert all(isinstance(outcome, bool) for outcome in repeated)
    await let_replicas_be_silent(server, seconds=SILENCE)
    worked_on = [f"m{number}" for number, new in enumerate(repeated) if new]
    worked_on += [callback.message_id for callback in await take_over_all(other) if callback.message_id[0] == "m"]
    assert sorted(worked_on) == sorted(f"m{number}" for number in range(300))


async def test_a_redis_that_swallows_everything_keeps_nobody_waiting(server: RedisServer, opened: Replicas) -> None:
    """Neither on the connections there are nor on a new one."""
    async with FaultProxy(server.port) as proxy:
        store = await opened.open(proxy.address(), answer_seconds=COMMAND_TIMEOUT_SECONDS)
        proxy.hole = True
        for first in range(0, 400, 100):
            assert all(
                isinstance(outcome, StateUnavailable) for outcome in await outcomes(store, range(first, first + 100))
            )
        proxy.hole = False
        await healed(store)
        await store.close()
    other = await opened.open(server.address())
    assert await outcomes(other, range(400)) == [True] * 400


async def test_many_at_once_are_admitted_over_a_few_connections(server: RedisServer, opened: Replicas) -> None:
    store = await opened.open(server.address())
    before = await connections(server)
    assert await outcomes(store, range(2000)) == [True] * 2000
    assert len(await connections(server) - before) < CONNECTIONS


async def test_a_gateway_may_start_before_its_redis(opened: Replicas) -> None:
    """It says why it is not ready, and is when Redis is there."""
    server = RedisServer()
    await server.restart()
    try:
        server.stop()
        store = await opened.open(server.address())
        assert "cannot be reached" in (await store.health() or "")
        with pytest.raises(StateUnavailable):
            await admit(store, "m1")
        await server.restart()
        await healed(store)
        assert await admit(store, "m1")
        await store.close()
    finally:
        server.remove()


async def test_a_wrong_password_is_told_without_showing_it(server: RedisServer, opened: Replicas) -> None:
    """And a missing one; correcting it in Redis heals."""
    await server.command("CONFIG", "SET", "requirepass", "canary-right")
    try:
        wrong = await opened.open(server.address(":canary-wrong@"))
        without = await opened.open(server.address())
        assert await wrong.health() == "the state's Redis refuses the user or the password: correct the address"
        assert await without.health() == "the state's Redis requires a password: add it to the address"
        for store in (wrong, without):
            with pytest.raises(StateUnavailable) as raised:
                await admit(store, "m1")
            assert raised.value.reason == "state"
            assert "canary" not in repr(vars(raised.value)) + str(raised.value)
        right = await opened.open(server.address(":canary-right@"))
        assert await admit(right, "m1")
    finally:
        await server.command("CONFIG", "SET", "requirepass", "", password="canary-right")
    await healed(without)


async def test_a_redis_that_fills_up_is_unhealthy_before_anybody_is_refused(
    server: RedisServer, opened: Replicas
) -> None:
    store = await opened.open(server.address(), silent_seconds=0.2)
    assert await store.health() is None
    await server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        async with asyncio.timeout(10):
            while True:
                if await store.health() == "the state's Redis is full: raise its maxmemory":
                    break
                # It finds out by itself, and announces nothing.
                await asyncio.sleep(0.01)
    finally:
        await server.command("CONFIG", "SET", "maxmemory", 0)
    await healed(store)


async def test_a_full_redis_admits_nothing_and_lets_work_end(server: RedisServer, opened: Replicas) -> None:
    """Ends make room, so they are let through; the reason is a label of its own, and room is noticed by itself."""
    store = await opened.open(server.address())
    await admit(store, "m1")
    await server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        for _ in range(5):
            with pytest.raises(StateUnavailable) as raised:
                await admit(store, "m2")
            assert raised.value.reason == "state_full"
        assert await store.health() == "the state's Redis is full: raise its maxmemory"
        await store.spend_window(await claim(store, "m1"), NOW)
        await store.finish("m1", NOW)
        assert not store.deferred
        assert await server.command("XLEN", "maven-wecom:{wecom}:unfinished") == 0
        assert await store.health() is not None
    finally:
        await server.command("CONFIG", "SET", "maxmemory", 0)
    await healed(store)
    assert await admit(store, "m2")


async def test_a_read_only_replica_is_told_and_left_when_it_is_promoted(server: RedisServer, opened: Replicas) -> None:
    """After a failover the name may still lead to the old primary for a while."""
    store = await opened.open(server.address())
    await admit(store, "m1")
    await server.command("REPLICAOF", "127.0.0.1", 1)
    try:
        with pytest.raises(StateUnavailable) as raised:
            await admit(store, "m2")
        assert raised.value.reason == "state"
        assert "read-only replica" in (await store.health() or "")
        await store.finish("m1", NOW)
    finally:
        await server.command("REPLICAOF", "NO", "ONE")
    await healed(store)
    assert await admit(store, "m2")


async def test_an_old_redis_is_told(opened: Replicas) -> None:
    """It would not understand the scripts, and say so in a way nobody understands."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65536):
            writer.write(b"+OK\r\n" * request.count(b"SETINFO"))
            if b"INFO\r\n$6\r\nserver" in request:
                info = b"# Server\r\nredis_version:6.2.14\r\n"
                writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        store = await opened.open(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        assert await store.health() == "the state's Redis is too old: 7.0 or newer is required"
        await store.close()


@pytest.mark.parametrize("stop", [RedisServer.stop, RedisServer.freeze])
async def test_closing_does_not_wait_for_a_redis_that_is_away(
    opened: Replicas, stop: Callable[[RedisServer], None]
) -> None:
    server = RedisServer()
    await server.restart()
    try:
        store = await open_state(server.address(), channel="wecom")
        stop(server)
        async with asyncio.timeout(DEFINITE_SECONDS):
            await store.close()
    finally:
        server.remove()
