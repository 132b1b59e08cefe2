"""Fixtures: a Redis server that is empty at the start of each test, and three replicas that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.redis_replicas import Replicas
from tests.fakes.redis_server import RedisServer, shared_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
