"""Several stores on one Redis, with helpers that crash them and simulate the silence of crashed replicas."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from maven_channel_wecom.state.redis.address import parse_redis_address
from maven_channel_wecom.state.redis.connection import RedisConnection
from maven_channel_wecom.state.redis.store import SILENT_SECONDS, RedisStateStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maven_channel_wecom.state.store import StateStore
    from tests.fakes.redis_server import RedisServer

_STREAM = "maven-wecom:{wecom}:unfinished"
_PULSE = "maven-wecom:{wecom}:pulse"


LONG_ANSWER_SECONDS = 5.0
"""Command timeout of a store in tests of anything else. It is long, so that they pass on a busy machine too."""


class Replicas(contextlib.AsyncExitStack):
    """Opens stores, and closes them on exit."""

    async def open(
        self,
        address: str,
        *,
        channel: str = "wecom",
        silent_seconds: float = SILENT_SECONDS,
        answer_seconds: float = LONG_ANSWER_SECONDS,
    ) -> RedisStateStore:
        connection = await asyncio.to_thread(RedisConnection, parse_redis_address(address), seconds=answer_seconds)
        store = RedisStateStore(connection, channel=channel, silent_seconds=silent_seconds)
        self.push_async_callback(store.close)
        await store.start()
        return store


async def crash_redis_store(store: StateStore) -> None:
    """Stop a store as if its process had been killed: it sends no more heartbeats and releases nothing."""
    assert isinstance(store, RedisStateStore)
    if store._heartbeats is not None:
        store._heartbeats.cancel()
    await store._connection.close()


async def let_replicas_be_silent(server: RedisServer, *, seconds: float, steady: bool = True) -> None:
    """Age the messages in progress, as if their replicas had been silent for `seconds`.

    With `steady`, Redis was available all the time and received heartbeats; otherwise it was unavailable itself.
    """
    pending = await server.command("EXISTS", _STREAM) and await server.command(
        "XPENDING", _STREAM, "replicas", "-", "+", 10_000
    )
    for entry, replica, *_ in pending or ():
        await server.command("XCLAIM", _STREAM, "replicas", replica, 0, entry, "IDLE", int(seconds * 1000), "JUSTID")
    now = int((await server.command("TIME"))[0])
    last = now if steady else now - seconds
    await server.command("HSET", _PULSE, "last", int(last * 1000), "since", int((now - 2 * seconds) * 1000))


async def healed(store: RedisStateStore) -> None:
    """Wait until the store is healthy and nothing is deferred, without sending it any operation."""
    async with asyncio.timeout(10):
        while True:
            if await store.health() is None and not store.deferred:
                return
            # The store has no event for this, and an operation would itself restore the connection.
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def frozen(server: RedisServer) -> AsyncIterator[None]:
    """Freeze the server, and thaw it on exit in any case."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()
