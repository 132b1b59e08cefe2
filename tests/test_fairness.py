"""Chats share a limited resource."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.fairness import RoundRobin, SharedLimit


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
    assert list(queue) == [1, 2]
