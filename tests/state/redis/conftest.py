"""Fixtures: Redis servers, replicas that use them, and a proxy in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.redis_replicas import Replicas
from tests.fakes.redis_server import RedisServer, shared_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from maven_channel_wecom.state.redis.store import RedisStateStore


@pytest.fixture
async def server() -> RedisServer:
    server = shared_redis()
    await server.command("FLUSHALL")
    return server


@pytest.fixture
async def replicas(server: RedisServer) -> AsyncIterator[list[RedisStateStore]]:
    async with Replicas() as opened:
        yield [await opened.open(server.address()) for _ in range(3)]


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    """Return a server of one module's own, which its tests may stop or configure."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def opened() -> AsyncIterator[Replicas]:
    """Yield a stack of replicas, which are closed with it."""
    async with Replicas() as opened:
        yield opened


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[FaultProxy]:
    """Yield a proxy in front of the server, which loses answers when a test asks for it."""
    async with FaultProxy(server.port) as proxy:
        yield proxy
