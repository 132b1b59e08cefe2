"""Room for media in hand: never more than there is, first come first served, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.errors import MediaUnavailable
from maven_channel_wecom.media_room import FETCHES_AT_ONCE, MediaRoom, MediaShare
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES

WAIT_SECONDS = 5


async def waiting(room: MediaRoom, share: MediaShare) -> asyncio.Task[None]:
    """Ask for room and come to where the answer is waited for."""
    task = asyncio.create_task(room.take(share))
    await asyncio.sleep(0)
    return task


async def test_a_download_takes_up_the_largest_size_and_then_its_own() -> None:
    """Until its message leaves."""
    room, share = MediaRoom(3 * BLOCK_BYTES), MediaShare()
    await room.take(share)
    await room.take(share)
    assert room.taken_bytes == 2 * BLOCK_BYTES
    room.settle(share, 1_000)
    room.settle(share, 0)
    assert room.taken_bytes == 1_000
    room.leave(share)
    assert room.taken_bytes == 0


async def test_who_does_not_fit_waits_and_whoever_came_first_goes_first() -> None:
    """A message that leaves makes room, and so does an item smaller than it might have been."""
    room = MediaRoom(2 * BLOCK_BYTES)
    large, small, first, second = (MediaShare() for _ in range(4))
    await room.take(large)
    await room.take(small)
    tasks = [await waiting(room, first), await waiting(room, second)]
    room.settle(large, BLOCK_BYTES)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, False]
    room.settle(small, 0)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False]
    room.leave(large)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, True]
    assert room.taken_bytes == 2 * BLOCK_BYTES


async def test_downloads_at_once_are_limited_too() -> None:
    """However much room there is."""
    room, share = MediaRoom(1_000 * BLOCK_BYTES), MediaShare()
    for _ in range(FETCHES_AT_ONCE):
        await room.take(share)
    next_one = await waiting(room, share)
    assert not next_one.done()
    room.settle(share, 10)
    await next_one


async def test_a_message_with_something_in_hand_waits_for_downloads_alone() -> None:
    """What others hold may depend on what it holds itself; a download always ends."""
    room = MediaRoom(2 * BLOCK_BYTES)
    one, other = MediaShare(), MediaShare()
    await room.take(one)
    room.settle(one, 1)
    await room.take(other)
    greedy, patient = await waiting(room, one), await waiting(room, MediaShare())
    assert not greedy.done()
    room.settle(other, BLOCK_BYTES)
    with pytest.raises(MediaUnavailable) as caught:
        await greedy
    assert caught.value.reason == "no_room"
    with pytest.raises(MediaUnavailable):
        await room.take(one)
    assert not patient.done()
    room.leave(other)
    await patient


async def test_a_message_that_left_holds_nothing_of_what_still_comes() -> None:
    """Its downloads may end after it."""
    room, share = MediaRoom(BLOCK_BYTES), MediaShare()
    await room.take(share)
    room.leave(share)
    assert room.taken_bytes == BLOCK_BYTES
    room.settle(share, 1_000)
    assert room.taken_bytes == 0


async def test_a_message_leaves_once_however_often_it_is_said() -> None:
    """What others hold is theirs."""
    room, share, other = MediaRoom(2 * BLOCK_BYTES), MediaShare(), MediaShare()
    for each in (share, other):
        await room.take(each)
        room.settle(each, 1_000)
    room.leave(share)
    room.leave(share)
    assert room.taken_bytes == 1_000


@pytest.mark.parametrize("granted", [False, True])
async def test_who_gives_up_waiting_takes_nothing(granted: bool) -> None:  # noqa: FBT001 - pytest names it
    """Even in the instant in which there was room."""
    room, first, second = MediaRoom(BLOCK_BYTES), MediaShare(), MediaShare()
    await room.take(first)
    given_up, patient = await waiting(room, second), await waiting(room, second)
    if granted:
        room.settle(first, 0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    if not granted:
        room.settle(first, 0)
    await patient
    assert room.taken_bytes == BLOCK_BYTES


async def test_who_gives_up_in_the_instant_of_a_refusal_takes_nothing_either() -> None:
    """And gives nothing back that was never taken."""
    room, holder, other = MediaRoom(2 * BLOCK_BYTES), MediaShare(), MediaShare()
    await room.take(holder)
    room.settle(holder, 1)
    await room.take(other)
    given_up = await waiting(room, holder)
    room.settle(other, BLOCK_BYTES)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert room.taken_bytes == BLOCK_BYTES + 1


async def test_those_who_gave_up_do_not_pile_up() -> None:
    """A room that stays full for hours forgets who waited in front of it."""
    room, holder = MediaRoom(BLOCK_BYTES), MediaShare()
    await room.take(holder)
    room.settle(holder, BLOCK_BYTES)
    for _ in range(100):
        given_up = await waiting(room, MediaShare())
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
    assert len(room._waiting) <= 1


@given(
    st.integers(1, 4),
    st.lists(st.lists(st.integers(0, BLOCK_BYTES), min_size=1, max_size=6), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
)
def test_every_message_comes_to_its_end(blocks: int, messages: list[list[int]], turns: list[int]) -> None:
    """Whatever they bring and in whatever order they end; what is taken never exceeds the limit."""
    room = MediaRoom(blocks * BLOCK_BYTES)

    async def download(share: MediaShare, size: int) -> str:
        try:
            await room.take(share)
        except MediaUnavailable as unavailable:
            return unavailable.reason
        assert room.taken_bytes <= blocks * BLOCK_BYTES
        await asyncio.sleep(0)
        room.settle(share, size)
        assert room.taken_bytes <= blocks * BLOCK_BYTES
        return "opened"

    async def message(sizes: list[int], turn: int) -> None:
        share = MediaShare()
        outcomes = await asyncio.gather(*(download(share, size) for size in sizes))
        # The first one never fails.
        assert "opened" in outcomes
        for _ in range(turn):
            await asyncio.sleep(0)
        room.leave(share)

    async def all_of_them() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*(message(sizes, turn) for sizes, turn in zip(messages, turns, strict=False)))

    asyncio.run(all_of_them())
    assert room.taken_bytes == 0
