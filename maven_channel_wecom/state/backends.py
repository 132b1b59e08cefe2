"""Selection of a backend by the address in the configuration."""

import os
from typing import Final

from maven_channel_wecom.clock import Clock
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.redis.address import TOPOLOGY_PROBLEM, is_redis, is_topology, redis_address_problem
from maven_channel_wecom.state.sqlite.file import path_problem
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from maven_channel_wecom.state.store import StateStore

MEMORY: Final = "memory:"
SQLITE: Final = "sqlite:"


def address_problem(address: str) -> str | None:
    """Return what is wrong with a state address, without quoting it; None if it is valid."""
    if address.startswith(SQLITE):
        return path_problem(address.removeprefix(SQLITE))
    if is_topology(address):
        return TOPOLOGY_PROBLEM
    if is_redis(address):
        return redis_address_problem(address)
    if address != MEMORY:
        return f'must be "{MEMORY}", "{SQLITE}PATH" or "redis://HOST"'
    return None


def sqlite_path(address: str) -> str | None:
    """Return the absolute path of the file of an address if there is one, None for other backends."""
    if not address.startswith(SQLITE):
        return None
    path = address.removeprefix(SQLITE)
    try:
        return os.path.realpath(path)
    except FileNotFoundError:  # The working directory was removed, so there is no absolute path.
        return path


async def open_state(address: str, *, channel: str, clock: Clock | None = None) -> StateStore:
    """Open the backend of an address for one channel.

    `clock` is the clock of the times that will be stored. Without one, adjustments of the system clock between two
    processes are noticed only if a stored time is in the future.

    Raises:
        ValueError: the address is invalid; the message is that of `address_problem`.
        StateUnavailable: the backend cannot be opened; the message says why and what to do.
    """
    if problem := address_problem(address):
        raise ValueError(problem)
    if address.startswith(SQLITE):
        return await SqliteStateStore.open(address.removeprefix(SQLITE), clock=clock)
    if is_redis(address):
        # Imported here because the redis package is an optional dependency.
        from maven_channel_wecom.state.redis.store import open_redis  # noqa: PLC0415 - needs the extra

        return await open_redis(address, channel=channel)
    return MemoryStateStore()
