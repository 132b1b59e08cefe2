"""Values that are there later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.later import Later, settled

if TYPE_CHECKING:
    from collections.abc import Callable


def future() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


async def test_the_steps_are_taken_in_order_once_the_future_is_done() -> None:
    """And not before."""
    done = future()
    taken: list[str] = []

    def step(name: str) -> Callable[[Callable[[], int]], int]:
        def take(result: Callable[[], int]) -> int:
            value = result()
            taken.append(f"{name} {value}")
            return value + 1

        return take

    Later(done).then(step("first")).then(step("second")).tell(lambda result: taken.append(f"told {result()}"))
    await asyncio.sleep(0)
    assert taken == []
    done.set_result(1)
    await asyncio.sleep(0)
    assert taken == ["first 1", "second 2", "told 3"]


async def test_a_value_can_be_waited_for_whether_it_is_there_or_not() -> None:
    """An error is raised at whoever waits, in the steps and behind them."""
    done = future()
    done.set_result(1)
    assert [await settled(2), await settled(Later(done))] == [2, 1]
    failed = future()
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await Later(failed).then(lambda result: result()).wait()


async def test_giving_up_is_a_timeout_for_the_steps() -> None:
    """Whoever is canceled while waiting gives up; what was begun is concluded all the same."""
    done = future()
    concluded: list[str] = []

    def conclude(result: Callable[[], int]) -> None:
        try:
            result()
        except TimeoutError:
            concluded.append("timeout")

    waiting = asyncio.create_task(Later(done).then(conclude).wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert done.cancelled()
    assert concluded == ["timeout"]
