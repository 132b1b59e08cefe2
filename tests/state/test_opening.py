"""From an address to a backend."""

import pytest

from maven_channel_wecom.state.opening import address_problem, open_state


async def test_memory_is_opened_by_its_address() -> None:
    """It has no further parts."""
    assert address_problem("memory:") is None
    assert await (await open_state("memory:", channel="wecom")).health() is None


@pytest.mark.parametrize("address", ["", "memory", "memory:x", "sqlite:/x", "redis://user:canary@x", "postgres:"])
async def test_another_address_is_explained_and_not_shown(address: str) -> None:
    """It may hold a password."""
    problem = address_problem(address)
    assert problem is not None
    assert "memory:" in problem
    assert "canary" not in problem
    with pytest.raises(ValueError, match="memory:"):
        await open_state(address, channel="wecom")
