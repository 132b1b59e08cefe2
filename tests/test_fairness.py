"""Chats share a limited resource."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.fairness import OneAtATime, RoundRobin, SharedLimit, SharedSemaphore


@pytest.mark.parametrize(("chats", "share"), [(1, 50), (2, 33), (4, 20)])
def test_busy_chats_get_equal_shares_and_leave_one_more(chats: int, share: int) -> None:
    limit = SharedLimit(100)
    names = [f"chat {number}" for number in range(chats)]
    used = dict.fromkeys(names, 0)
    while allowed := [name for name in names if limit.allows(name)]:
        for name in allowed:
            if limit.allows(name):
                limit.reserve(name)
                used[name] += 1
    assert all(abs(amount - share) <= 1 for amount in used.values())
    assert limit.allows("another chat")


@pytest.mark.parametrize("limit", [1, 2])
def test_a_small_resource_can_be_used_up(limit: int) -> None:
    shared = SharedLimit(limit)
    for _ in range(limit):
        assert shared.allows("chat")
        shared.reserve("chat")
    assert not shared.allows("chat")
    assert not shared.allows("another chat")


def test_an_amount_must_be_free_as_a_whole() -> None:
    limit = SharedLimit(10)
    limit.reserve("chat", 4)
    assert limit.allows("chat", 6)
    assert not limit.allows("chat", 7)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5))))
def test_what_is_released_is_free_again(reserved: list[tuple[str, int]]) -> None:
    limit = SharedLimit(100)
    for chat, amount in reserved:
        limit.reserve(chat, amount)
    assert limit.used == sum(amount for _, amount in reserved)
    for chat, amount in reserved:
        limit.release(chat, amount)
    assert (limit.used, limit.free) == (0, 100)


def test_chats_that_become_busy_one_after_another_can_use_up_the_resource() -> None:
    limit = SharedLimit(10)
    used = []
    for chat in "abcd":
        before = limit.used
        while limit.allows(chat):
            limit.reserve(chat)
        used.append(limit.used - before)
    assert used == [6, 3, 1, 0]


def test_chats_are_served_in_turn() -> None:
    queue: RoundRobin[int] = RoundRobin()
    for chat, item in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)):
        queue.add(chat, item)
    served = [queue.pop(lambda _chat, _item: True) for _ in range(6)]
    assert served == [1, 4, 5, 2, 3, None]


def test_a_chat_whose_first_item_is_not_ready_is_passed_over() -> None:
    queue: RoundRobin[int] = RoundRobin()
    for chat, item in (("a", 1), ("a", 2), ("b", 3)):
        queue.add(chat, item)
    assert queue.pop(lambda chat, _item: chat != "a") == 3
    assert queue.pop(lambda chat, _item: chat != "a") is None
    assert len(queue) == 2


async def start_acquiring(semaphore: SharedSemaphore, chat: str) -> asyncio.Task[None]:
    """Start a task that acquires, and return it once it is granted or waits."""
    task = asyncio.create_task(semaphore.acquire(chat, asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    return task


async def test_a_task_waits_until_its_chat_may_use_every_resource() -> None:
    places, bytes_ = SharedLimit(10), SharedLimit(100)
    semaphore = SharedSemaphore((places, 1), (bytes_, 60))
    async with semaphore.hold("a"):
        waiting = await start_acquiring(semaphore, "b")
        assert (waiting.done(), places.used, bytes_.used) == (False, 1, 60)
    await waiting
    semaphore.release("b")
    assert (places.used, bytes_.used) == (0, 0)


async def test_a_busy_chat_delays_no_other() -> None:
    semaphore = SharedSemaphore((SharedLimit(4), 1))
    busy = [await start_acquiring(semaphore, "busy") for _ in range(20)]
    assert sum(task.done() for task in busy) == 3
    quiet = await start_acquiring(semaphore, "quiet")
    next_one = await start_acquiring(semaphore, "next")
    semaphore.release("busy")
    await asyncio.sleep(0)
    assert (quiet.done(), next_one.done(), sum(task.done() for task in busy)) == (True, True, 3)
    for task in busy:
        task.cancel()


@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_task_acquires_nothing(granted: bool) -> None:  # noqa: FBT001 - pytest names it
    """This holds even if it was granted in the same loop iteration."""
    limit = SharedLimit(1)
    semaphore = SharedSemaphore((limit, 1))
    await start_acquiring(semaphore, "a")
    cancelled, next_one = [await start_acquiring(semaphore, chat) for chat in "bc"]
    if granted:
        semaphore.release("a")
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    if not granted:
        semaphore.release("a")
    await next_one
    assert limit.used == 1


async def test_cancelled_tasks_do_not_accumulate() -> None:
    semaphore = SharedSemaphore((SharedLimit(1), 1))
    await start_acquiring(semaphore, "a")
    for _ in range(100):
        cancelled = await start_acquiring(semaphore, "a")
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
    assert len(semaphore._waiting) <= 1


async def test_a_chat_that_does_one_thing_at_a_time_does_not_hold_what_it_waits_for() -> None:
    places = SharedLimit(2)
    semaphore = SharedSemaphore((places, 1), (OneAtATime(), 1))
    order: list[str] = []
    gates = {name: asyncio.Event() for name in ("a1", "a2", "a3", "b1", "c1")}

    async def work(name: str) -> None:
        async with semaphore.hold(name[0]):
            order.append(name)
            await gates[name].wait()

    tasks = [asyncio.create_task(work(name)) for name in gates]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (order, places.used) == (["a1", "b1"], 2)
    for gate in gates.values():
        gate.set()
    await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "a2", "c1", "a3"]
    assert places.used == 0


async def test_a_chat_that_begins_to_wait_looks_at_no_other_while_nothing_is_free() -> None:
    class CountingLimit(SharedLimit):
        asked = 0

        def allows(self, chat: str, amount: int = 1) -> bool:
            self.asked += 1
            return super().allows(chat, amount)

    limit = CountingLimit(1)
    semaphore = SharedSemaphore((limit, 1), (OneAtATime(), 1))
    gate = asyncio.Event()
    served: list[str] = []

    async def use(chat: str) -> None:
        async with semaphore.hold(chat):
            await gate.wait()
            served.append(chat)

    chats = [str(number) for number in range(1_000)]
    tasks = [asyncio.create_task(use(chat)) for chat in chats]
    await asyncio.sleep(0)
    assert limit.asked == 1
    gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)
    assert served == chats
    assert limit.asked <= 2 * len(chats)
