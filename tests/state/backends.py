"""The backends for the tests of shared behavior. Each outlives the stores that are opened on it."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Protocol

from maven_channel_wecom.state.backends import open_state
from maven_channel_wecom.state.redis.store import open_redis
from tests.fakes.redis_replicas import LONG_ANSWER_SECONDS, crash_redis_store, let_replicas_be_silent
from tests.fakes.redis_server import shared_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from maven_channel_wecom.state.store import StateStore
    from tests.fakes.redis_server import RedisServer


class Backend(Protocol):
    """The storage of one test. Stores that are still open at the end of the test are closed."""

    async def open(self) -> StateStore:
        """Open a store as a new process would. The previous one has been closed, or was abandoned as in a crash."""
        ...


class _Memory:
    async def open(self) -> StateStore:
        return await open_state("memory:", channel="wecom")


@contextlib.asynccontextmanager
async def memory(_folder: Path) -> AsyncIterator[Backend]:
    yield _Memory()


class _Sqlite:
    """Each store gets a copy of the file on the disk, because an abandoned store still owns its own file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[StateStore] = []

    async def open(self) -> StateStore:
        generation = len(self._opened)
        for suffix in ("", "-wal"):
            earlier = self._folder / f"{generation}.db{suffix}"
            if earlier.exists():
                shutil.copyfile(earlier, self._folder / f"{generation + 1}.db{suffix}")
        store = await open_state(f"sqlite:{self._folder}/{generation + 1}.db", channel="wecom")
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Backend]:
    backend = _Sqlite(folder)
    try:
        yield backend
    finally:
        await backend.close()


class _Redis:
    """Each store is another replica, opened an hour after the previous one crashed, which therefore counts as dead."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._opened: list[StateStore] = []

    async def open(self) -> StateStore:
        for store in self._opened:
            await crash_redis_store(store)
        await let_replicas_be_silent(self._server, seconds=3600)
        store = await open_redis(self._server.address(), channel="wecom", command_timeout_seconds=LONG_ANSWER_SECONDS)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


@contextlib.asynccontextmanager
async def redis(_folder: Path) -> AsyncIterator[Backend]:
    server = shared_redis()
    await server.command("FLUSHALL")
    backend = _Redis(server)
    try:
        yield backend
    finally:
        await backend.close()


BACKENDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Backend]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "redis": redis,
}

DURABLE: tuple[str, ...] = ("sqlite", "redis")
"""Names of the backends whose entries outlive the process."""
