"""The probe of Redis: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.address import parse_redis_address
from maven_channel_wecom.state.redis.connection import RedisConnection
from maven_channel_wecom.state.redis.probe import probe
from tests.fakes.redis_replicas import LONG_ANSWER_SECONDS, Replicas, healed
from tests.fakes.redis_server import RedisServer
from tests.state.messages import admit

if TYPE_CHECKING:
    from maven_channel_wecom.state.redis.scripts import Script

KEYS = "~maven-wecom:*"

NEEDED = [
    *("evalsha", "eval", "type", "time", "set", "get", "del", "pexpire", "pttl", "rpush", "lrange"),
    *("hset", "hmget", "hdel", "hget", "zadd", "zrem", "zcard", "zrangebyscore", "zrevrange", "zremrangebyscore"),
    *("xgroup", "xadd", "xclaim", "xack", "xdel", "xpending", "xrange", "xinfo"),
]
"""The commands without which some operation on a message fails."""


async def connect(address: str) -> RedisConnection:
    return await asyncio.to_thread(RedisConnection, parse_redis_address(address), seconds=LONG_ANSWER_SECONDS)


async def allow(server: RedisServer, *rules: str) -> str:
    """Give a user these permissions, and return the address with its name and password."""
    await server.command("FLUSHALL")
    await server.command("SCRIPT", "FLUSH")
    await server.command("ACL", "SETUSER", "user", "reset", "on", ">pw", KEYS, "+@all", *rules)
    return server.address("user:pw@")


async def left_behind(server: RedisServer) -> set[str]:
    """Return the keys of messages, and the stream if it has entries."""
    keys = {key.partition("}:")[2] for key in await server.keys()}
    keys = {key for key in keys if not key.startswith("probe:")} - {"pulse"}
    return keys if await server.command("XLEN", "maven-wecom:{wecom}:unfinished") else keys - {"unfinished"}


async def test_a_healthy_redis_has_no_problem_and_no_key_is_left(own_server: RedisServer) -> None:
    connection = await connect(await allow(own_server))
    probes = (probe(connection, channel="wecom", name=f"host{number % 10}") for number in range(20))
    assert await asyncio.gather(*probes) == [None] * 20
    assert await own_server.keys() == set()
    await connection.close()


class InterruptedConnection(RedisConnection):
    """Raises StateUnavailable instead of running a script, after so many scripts."""

    scripts_left = 0

    async def run(self, script: Script, key: str, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - as in the base
        if not self.scripts_left:
            reason = "interrupted"
            raise StateUnavailable(reason)
        self.scripts_left -= 1
        return await super().run(script, key, *arguments)


@pytest.mark.parametrize("scripts", range(1, 12))
async def test_what_an_interrupted_probe_leaves_behind_expires_and_the_next_one_removes_it(
    own_server: RedisServer, scripts: int
) -> None:
    address = parse_redis_address(await allow(own_server))
    connection = await asyncio.to_thread(InterruptedConnection, address, seconds=LONG_ANSWER_SECONDS)
    connection.scripts_left = scripts
    with pytest.raises(StateUnavailable, match="interrupted"):
        await probe(connection, channel="wecom", name="host")
    keys = await own_server.keys()
    assert keys
    assert {key for key in keys if await own_server.command("PTTL", key) < 0} == set()
    with pytest.raises(StateUnavailable, match="interrupted"):
        await probe(connection, channel="wecom", name="host")
    assert await own_server.keys() == set()
    await connection.close()


@pytest.mark.parametrize("command", NEEDED)
async def test_a_missing_permission_is_found_before_an_admission_and_leaves_nothing_behind(
    own_server: RedisServer, opened: Replicas, command: str
) -> None:
    """The refused admission leaves no message that would be taken over or that makes its repeat a duplicate."""
    store = await opened.open(await allow(own_server, f"-{command}"))
    assert "lacks permissions" in (await store.health() or "")
    await own_server.command("FLUSHALL")
    try:
        assert await admit(store, "m1")
    except StateUnavailable:
        assert await left_behind(own_server) == set()
    await allow(own_server)
    await healed(store)
    assert await store.health() is None


@pytest.mark.parametrize(
    "missing",
    ["-zadd -xdel", "-hset -xdel", "-pexpire -zrem", "-zadd -del", "-xclaim -xack", "-zcard -xdel"],
)
async def test_a_refused_admission_leaves_nothing_behind_even_if_it_cannot_be_undone(
    own_server: RedisServer, opened: Replicas, missing: str
) -> None:
    store = await opened.open(await allow(own_server, *missing.split()))
    await own_server.command("FLUSHALL")
    with pytest.raises(StateUnavailable, match="lacks permissions"):
        await admit(store, "m1")
    assert await left_behind(own_server) == set()


@pytest.mark.parametrize("renamed", ["EVALSHA", "EVAL", "XADD", "XCLAIM"])
async def test_a_renamed_command_is_reported(opened: Replicas, renamed: str) -> None:
    server = RedisServer("--rename-command", renamed, "canary")
    await server.restart()
    try:
        store = await opened.open(server.address())
        assert "lacks a command" in (await store.health() or "")
        with pytest.raises(StateUnavailable, match="lacks a command"):
            await admit(store, "m1")
        assert "lacks a command" in (await store.health() or "")
        await store.close()
    finally:
        server.remove()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"])
async def test_a_redis_that_removes_keys_is_reported_until_it_does_not(
    own_server: RedisServer, opened: Replicas, policy: str
) -> None:
    """Messages are admitted all the same. Without a limit of its memory Redis removes nothing."""
    await own_server.command("FLUSHALL")
    await own_server.command("CONFIG", "SET", "maxmemory-policy", policy)
    try:
        assert await (await opened.open(own_server.address())).health() is None
        await own_server.command("CONFIG", "SET", "maxmemory", 10**9)
        store = await opened.open(own_server.address(), silent_seconds=0.2)
        assert "set maxmemory-policy noeviction" in (await store.health() or "")
        assert await admit(store, "m1")
    finally:
        await own_server.command("CONFIG", "SET", "maxmemory", 0)
        await own_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await healed(store)
