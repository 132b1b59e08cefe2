"""From the address in the configuration to a backend."""

from typing import Final

from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.port import StateStore

MEMORY: Final = "memory:"


def address_problem(address: str) -> str | None:
    """Tell what is wrong with a state address; None when it can be opened. The text does not show the address."""
    if address != MEMORY:
        return f'must be "{MEMORY}", the only backend so far'
    return None


async def open_state(address: str, *, channel: str) -> StateStore:  # noqa: ARG001 - shared backends keep channels apart
    """Open the backend an address names, for one channel.

    Raises:
        ValueError: `address_problem` would have said why.
    """
    if problem := address_problem(address):
        raise ValueError(problem)
    return MemoryStateStore()
