"""Outages: Redis is down, frozen, full, read-only or misconfigured. Calls fail fast and recovery is automatic."""

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
    from collections.abc import Callable

    from maven_channel_wecom.state.redis.store import RedisStateStore

SILENCE = 60.0

# Far longer than two attempts of 0.2 s, because the machine may be busy, and far shorter than a hang.
FAILURE_SECONDS = 10.0


@pytest.fixture
async def server(own_server: RedisServer) -> RedisServer:
    with suppress(OSError):
        await own_server.command("PING")
    await own_server.command("FLUSHALL")
    return own_server


async def outcomes(store: RedisStateStore, messages: range) -> list[object]:
    """Admit many messages concurrently, and return the result or exception of each within FAILURE_SECONDS."""
    async with asyncio.timeout(FAILURE_SECONDS):
        return await asyncio.gather(*(admit(store, f"m{number}") for number in messages), return_exceptions=True)


async def connections(server: RedisServer) -> set[str]:
    """Return the ids of all open connections except the one of this command."""
    clients = (await server.command("CLIENT", "LIST")).decode().splitlines()
    return {client.split()[0] for client in clients if "cmd=client|list" not in client}


async def test_while_redis_is_down_updates_are_deferred_and_other_operations_fail_at_once(
    server: RedisServer, opened: Replicas
) -> None:
    store = await opened.open(server.address())
    await admit(store, "in-progress")
    claimed = await claim(store, "in-progress")
    server.stop()
    assert all(isinstance(outcome, StateUnavailable) for outcome in await outcomes(store, range(200)))
    for operation in (store.take_over(NOW), store.claim_window([CHAT], None, NOW)):
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await operation
    await store.spend_window(claimed, NOW)
    await store.finish("in-progress", NOW)
    assert await store.health() == "the state's Redis cannot be reached: start it, or correct the address"
    await server.restart()
    await healed(store)
    assert await outcomes(store, range(200)) == [True] * 200


async def test_live_replicas_keep_their_messages_when_redis_restarts_empty(
    server: RedisServer, opened: Replicas
) -> None:
    """They recognize their messages in progress and can finish them. Only the windows are lost."""
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


async def test_no_message_is_lost_when_a_frozen_redis_runs_its_admissions_later(
    server: RedisServer, opened: Replicas
) -> None:
    """It may run admissions that were answered 503 long before. Their repeats are duplicates; they are taken over."""
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
        # The breaker is open, so callers do not wait for Redis, except for an occasional attempt.
        assert time.monotonic() - started < FAILURE_SECONDS
    await healed(store)
    assert await admit(store, "after")
    # With a longer timeout, because three hundred concurrent admissions may take long on a busy machine.
    other = await opened.open(server.address())
    repeated = await outcomes(other, range(300))
    assert all(isinstance(outcome, bool) for outcome in repeated)
    await let_replicas_be_silent(server, seconds=SILENCE)
    worked_on = [f"m{number}" for number, new in enumerate(repeated) if new]
    worked_on += [callback.message_id for callback in await take_over_all(other) if callback.message_id[0] == "m"]
    assert sorted(worked_on) == sorted(f"m{number}" for number in range(300))


async def test_no_caller_is_left_waiting_for_a_redis_that_never_answers(server: RedisServer, opened: Replicas) -> None:
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


async def test_many_concurrent_admissions_share_a_few_connections(server: RedisServer, opened: Replicas) -> None:
    store = await opened.open(server.address())
    before = await connections(server)
    assert await outcomes(store, range(2000)) == [True] * 2000
    assert len(await connections(server) - before) < CONNECTIONS


async def test_a_gateway_may_start_before_its_redis(opened: Replicas) -> None:
    """It reports why it is not ready, and recovers once Redis is started."""
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


async def test_a_wrong_or_missing_password_is_reported_and_not_quoted(server: RedisServer, opened: Replicas) -> None:
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


async def test_a_full_redis_is_reported_before_a_message_is_refused(server: RedisServer, opened: Replicas) -> None:
    store = await opened.open(server.address(), silent_seconds=0.2)
    assert await store.health() is None
    await server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        async with asyncio.timeout(10):
            while True:
                if await store.health() == "the state's Redis is full: raise its maxmemory":
                    break
                # The store checks by itself, without a notification.
                await asyncio.sleep(0.01)
    finally:
        await server.command("CONFIG", "SET", "maxmemory", 0)
    await healed(store)


async def test_a_full_redis_refuses_messages_and_applies_updates(server: RedisServer, opened: Replicas) -> None:
    """Updates free memory, so they are applied. The store recovers by itself once there is memory again."""
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


async def test_a_read_only_replica_is_reported_until_it_is_promoted(server: RedisServer, opened: Replicas) -> None:
    """After a failover the host name may lead to the old primary for a while."""
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


async def test_a_redis_that_is_too_old_is_reported(opened: Replicas) -> None:
    """The error that its scripts would cause does not mention the version."""

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
async def test_closing_does_not_wait_for_an_unavailable_redis(
    opened: Replicas, stop: Callable[[RedisServer], None]
) -> None:
    server = RedisServer()
    await server.restart()
    try:
        store = await open_state(server.address(), channel="wecom")
        stop(server)
        async with asyncio.timeout(FAILURE_SECONDS):
            await store.close()
    finally:
        server.remove()
