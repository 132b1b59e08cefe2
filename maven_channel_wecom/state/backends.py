"""From the address in the configuration to a backend."""

from typing import Final

from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.redis.address import is_redis, redis_address_problem
from maven_channel_wecom.state.sqlite.file import path_problem
from maven_channel_wecom.state.sqlite.store import SqliteStateStore
from maven_channel_wecom.state.store import StateStore

MEMORY: Final = "memory:"
SQLITE: Final = "sqlite:"


def address_problem(address: str) -> str | None:
    """Tell what is wrong with a state address; None when it can be opened. The text does not show the address."""
    if address.startswith(SQLITE):
        return path_problem(address.removeprefix(SQLITE))
    if is_redis(address):
        return redis_address_problem(address)
    if address != MEMORY:
        return f'must be "{MEMORY}", "{SQLITE}PATH" or "redis://HOST"'
    return None


async def open_state(address: str, *, channel: str) -> StateStore:
    """Open the backend an address names, for one channel.

    Raises:
        ValueError: the address is wrong; the text is that of `address_problem`.
        StateUnavailable: a sentence that says why it cannot be opened and what to do.
    """
    if problem := address_problem(address):
        raise ValueError(problem)
    if address.startswith(SQLITE):
        return await SqliteStateStore.open(address.removeprefix(SQLITE))
    if is_redis(address):
        # Imported late: the redis package is an optional dependency.
        from maven_channel_wecom.state.redis.store import open_redis  # noqa: PLC0415

        return await open_redis(address, channel=channel)
    return MemoryStateStore()
