"""Behavior that every backend shares. A new backend is added in `backends.py` only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.state.store import CLAIM_SECONDS, StreamFrame
from tests.state.backends import BACKENDS
from tests.state.messages import (
    CHAT,
    HOUR,
    NOW,
    admission,
    admission_of_event,
    admission_with_stream,
    admit,
    claim,
    stored,
    stream_id,
    take_over_all,
    window,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maven_channel_wecom.state.store import StateStore

OTHER = chat_key("other", is_group=True)

# A person and a group that have the same id.
ALICE = chat_key("alice", is_group=False)
GROUP_CALLED_ALICE = chat_key("alice", is_group=True)


@pytest.fixture(params=BACKENDS)
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    async with BACKENDS[request.param](tmp_path) as backend:
        store = await backend.open()
        yield store
        await store.close()


async def test_a_fresh_state_is_healthy_and_empty(state: StateStore) -> None:
    assert await state.health() is None
    assert await state.take_over(NOW) == []
    assert state.open_windows == 0
    assert state.expired_windows == 0


async def test_a_message_is_admitted_once(state: StateStore) -> None:
    assert await admit(state, "m1")
    assert not await admit(state, "m1")
    assert await admit(state, "m2")


async def test_only_one_of_many_concurrent_admissions_of_a_message_is_new(state: StateStore) -> None:
    batches = [[admission("m1"), admission("m1")] for _ in range(25)]
    results = await asyncio.gather(*(state.admit(batch, NOW) for batch in batches))
    assert sum(sum(result) for result in results) == 1
    assert state.open_windows == 1


async def test_results_are_in_the_order_of_the_batch(state: StateStore) -> None:
    await admit(state, "m2")
    await admit(state, "m5")
    assert await state.admit([admission(f"m{number}") for number in range(1, 7)], NOW) == [
        True,
        False,
        True,
        True,
        False,
        True,
    ]


async def test_the_first_of_two_admissions_with_the_same_id_in_a_batch_is_new(state: StateStore) -> None:
    """The reply window is that of the first admission as well."""
    batch = [admission("m1"), admission("m2"), admission("m1", chat=OTHER), admission("m1")]
    assert await state.admit(batch, NOW) == [True, True, False, False]
    assert state.open_windows == 2
    assert await state.claim_window([OTHER], "m1", NOW) is None
    assert await claim(state, "m1") == window("m1")


async def test_an_empty_batch_admits_nothing(state: StateStore) -> None:
    assert await state.admit([], NOW) == []


async def test_a_large_batch_is_admitted(state: StateStore) -> None:
    batch = [admission(f"m{number}", NOW + number) for number in range(200)]
    assert await state.admit(batch, NOW) == [True] * 200
    assert await state.admit(batch, NOW) == [False] * 200
    assert state.open_windows == 200


async def test_a_message_whose_admission_was_cancelled_is_either_taken_over_or_new_again(state: StateStore) -> None:
    ids = [f"m{number}" for number in range(20)]
    callers = [asyncio.create_task(state.admit([admission(message_id)], NOW)) for message_id in ids]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    cancelled = {message_id for message_id, result in zip(ids, results, strict=True) if result != [True]}
    new_now = {message_id for message_id in ids if await admit(state, message_id)}
    taken = {callback.message_id for callback in await take_over_all(state)}
    assert new_now | taken == cancelled
    assert not new_now & taken


async def test_a_window_whose_claim_was_cancelled_is_open_again(state: StateStore) -> None:
    await admit(state, "m1")
    for _ in range(10):
        caller = asyncio.create_task(state.claim_window([CHAT], "m1", NOW))
        await asyncio.sleep(0)
        if caller.cancel():
            claimed = None
            async with asyncio.timeout(10):
                # A backend may undo the claim a little later, without a notification.
                while claimed is None:
                    claimed = await state.claim_window([CHAT], "m1", NOW)
        else:
            claimed = caller.result()
        assert claimed == window("m1")
        await state.restore_window(claimed, NOW)


async def test_a_finished_message_is_recognized_until_its_claim_expires(state: StateStore) -> None:
    await admit(state, "m1")
    await state.finish("m1", NOW)
    assert CLAIM_SECONDS >= 300
    assert not await admit(state, "m1", NOW + CLAIM_SECONDS - 0.001)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_a_message_in_progress_is_recognized_after_its_claim_has_expired(state: StateStore) -> None:
    await admit(state, "m1")
    assert not await admit(state, "m1", NOW + 2 * CLAIM_SECONDS)


async def test_a_released_message_is_taken_over_again_and_keeps_its_claim_and_window(state: StateStore) -> None:
    await admit(state, "m1")
    for _ in range(3):
        assert await state.take_over(NOW) == []
        assert await state.release("m1", NOW)
        assert not await admit(state, "m1")
        assert await take_over_all(state) == [stored("m1")]
    assert await state.claim_window([CHAT], "m1", NOW) == window("m1")
    await state.finish("m1", NOW)
    assert await state.take_over(NOW) == []


async def test_released_messages_are_taken_over_oldest_first_up_to_a_limit(state: StateStore) -> None:
    for message_id, received_at in (("m2", NOW + 1), ("m1", NOW), ("m3", NOW + 2)):
        await admit(state, message_id, received_at)
        await state.release(message_id, received_at)
    taken = [callback.message_id for _ in range(3) for callback in await state.take_over(NOW + 3, limit=1)]
    assert sorted(taken) == ["m1", "m2", "m3"]
    assert await state.take_over(NOW + 3) == []


async def test_releasing_an_answered_message_finishes_it(state: StateStore) -> None:
    """A spent window means that the message was answered: it must not be processed again."""
    await admit(state, "m1")
    await state.spend_window(await claim(state, "m1"), NOW)
    assert await state.release("m1", NOW)
    assert await state.take_over(NOW) == []
    assert not await admit(state, "m1")


async def test_a_message_that_is_being_answered_cannot_be_released_until_its_reply_has_ended(
    state: StateStore,
) -> None:
    await admit(state, "m1")
    claimed = await claim(state, "m1")
    assert not await state.release("m1", NOW)
    assert await state.take_over(NOW) == []
    await state.restore_window(claimed, NOW)
    assert await state.release("m1", NOW)
    assert await take_over_all(state) == [stored("m1")]


async def test_releasing_or_finishing_an_unknown_message_does_nothing(state: StateStore) -> None:
    assert await state.release("m1", NOW)
    await state.finish("m1", NOW)
    assert await state.take_over(NOW) == []
    assert await admit(state, "m1")


async def test_a_process_does_not_take_over_its_own_messages(state: StateStore) -> None:
    await admit(state, "m1")
    assert await state.take_over(NOW) == []


async def test_a_callback_without_a_window_is_admitted_once_and_released(state: StateStore) -> None:
    """An event has no reply window."""
    assert await state.admit([admission_of_event("e1")], NOW) == [True]
    assert await state.claim_window([CHAT], "e1", NOW) is None
    assert await state.admit([admission_of_event("e1")], NOW) == [False]
    assert await state.release("e1", NOW)
    assert await take_over_all(state) == [stored("e1")]


async def test_a_reply_gets_the_window_of_the_message_it_answers(state: StateStore) -> None:
    """Two people ask in one group, and the replies may come in any order."""
    await admit(state, "m1")
    await admit(state, "m2", NOW + 1)
    assert await claim(state, "m1", NOW + 2) == window("m1")
    assert await claim(state, "m2", NOW + 2) == window("m2", NOW + 1)


async def test_a_window_is_claimed_once(state: StateStore) -> None:
    await admit(state, "m1")
    claimed = await asyncio.gather(*(state.claim_window([CHAT], "m1", NOW) for _ in range(50)))
    assert [found for found in claimed if found] == [window("m1")]
    assert state.open_windows == 0


async def test_without_a_message_id_the_windows_of_a_chat_are_claimed_newest_first(state: StateStore) -> None:
    await admit(state, "m1")
    await admit(state, "m2", NOW + 1)
    await admit(state, "m3", NOW + 2, chat=OTHER)
    claimed = [await state.claim_window([CHAT], None, NOW + 3) for _ in range(3)]
    assert [found and found.message_id for found in claimed] == ["m2", "m1", None]


async def test_a_window_is_not_claimed_by_its_message_id_in_another_chat(state: StateStore) -> None:
    await admit(state, "m1")
    assert await state.claim_window([OTHER], "m1", NOW) is None
    assert await state.claim_window([CHAT], "m1", NOW) is not None


async def test_a_group_with_the_id_of_a_person_has_its_own_windows(state: StateStore) -> None:
    await admit(state, "group", NOW + 1, chat=GROUP_CALLED_ALICE, sender_id="bob")
    await admit(state, "single", NOW, chat=ALICE)
    assert await state.claim_window([ALICE], "group", NOW + 2) is None
    assert await state.claim_window([GROUP_CALLED_ALICE], "single", NOW + 2) is None
    claimed = await state.claim_window([ALICE], None, NOW + 2)
    assert claimed == window("single", chat=ALICE)
    assert await state.claim_window([ALICE], None, NOW + 2) is None
    claimed = await state.claim_window([GROUP_CALLED_ALICE], None, NOW + 2)
    assert claimed == window("group", NOW + 1, chat=GROUP_CALLED_ALICE, sender_id="bob")


async def test_a_message_is_found_in_any_of_the_given_chats(state: StateStore) -> None:
    """A host may give a chat id without the kind of chat."""
    await admit(state, "group", chat=GROUP_CALLED_ALICE)
    await admit(state, "single", chat=ALICE)
    await admit(state, "other", chat=OTHER)
    for message_id in ("group", "single"):
        claimed = await state.claim_window([ALICE, GROUP_CALLED_ALICE], message_id, NOW)
        assert claimed is not None
        assert claimed.message_id == message_id
    assert await state.claim_window([ALICE, GROUP_CALLED_ALICE], "other", NOW) is None


async def test_a_window_of_the_first_chat_is_preferred_to_a_newer_one_of_the_second(state: StateStore) -> None:
    await admit(state, "single", NOW, chat=ALICE)
    await admit(state, "group", NOW + 1, chat=GROUP_CALLED_ALICE)
    chats = [ALICE, GROUP_CALLED_ALICE]
    claimed = [await state.claim_window(chats, None, NOW + 2) for _ in range(3)]
    assert [found and found.message_id for found in claimed] == ["single", "group", None]


async def test_a_spare_window_is_searched_for_in_all_given_chats(state: StateStore) -> None:
    await admit(state, "single in progress", NOW, chat=ALICE)
    await admit(state, "group finished", NOW + 1, chat=GROUP_CALLED_ALICE)
    await state.finish("group finished", NOW + 2)
    spare = await state.claim_window([ALICE, GROUP_CALLED_ALICE], None, NOW + 3, spare_of="alice")
    assert spare is not None
    assert spare.message_id == "group finished"


async def test_an_expired_window_is_not_claimed_by_message_or_by_chat(state: StateStore) -> None:
    await admit(state, "m1")
    await admit(state, "m2")
    assert await state.claim_window([CHAT], "m1", NOW + HOUR - 0.001) is not None
    assert await state.claim_window([CHAT], "m2", NOW + HOUR) is None
    assert await state.claim_window([CHAT], None, NOW + HOUR) is None


async def test_the_window_of_a_finished_message_stays_open(state: StateStore) -> None:
    """A host may finish a message first and answer it later, for most of an hour."""
    await admit(state, "m1")
    await state.finish("m1", NOW)
    assert await state.claim_window([CHAT], "m1", NOW + HOUR - 1) == window("m1")


async def test_a_spent_window_stays_spent(state: StateStore) -> None:
    await admit(state, "m1")
    await state.spend_window(await claim(state, "m1"), NOW)
    await state.finish("m1", NOW)
    assert await state.claim_window([CHAT], "m1", NOW) is None
    assert await state.claim_window([CHAT], None, NOW) is None


async def test_a_restored_window_can_be_claimed_again(state: StateStore) -> None:
    await admit(state, "m1")
    claimed = await claim(state, "m1")
    await state.restore_window(claimed, NOW + 1)
    assert state.open_windows == 1
    assert await state.claim_window([CHAT], None, NOW + 1) == claimed
    assert await state.claim_window([CHAT], "m1", NOW + 1) is None


async def test_a_window_restored_as_repeated_is_claimed_as_repeated(state: StateStore) -> None:
    """An attempt through it may have arrived. The mark stays, whatever restores the window later."""
    await admit(state, "m1")
    await state.restore_window(msgspec.structs.replace(await claim(state, "m1"), repeated=True), NOW)
    claimed = await claim(state, "m1")
    assert claimed == msgspec.structs.replace(window("m1"), repeated=True)
    await state.restore_window(claimed, NOW)
    assert (await claim(state, "m1")).repeated


async def test_a_restored_window_keeps_its_place_in_the_order_of_the_chat(state: StateStore) -> None:
    for number in range(3):
        await admit(state, f"m{number}", NOW + number)
    await state.restore_window(await claim(state, "m1", NOW + 3), NOW + 4)
    claimed = [await state.claim_window([CHAT], None, NOW + 5) for _ in range(4)]
    assert [found and found.message_id for found in claimed] == ["m2", "m1", "m0", None]


async def test_a_window_that_is_restored_twice_is_claimed_once(state: StateStore) -> None:
    """A restore is repeated if its answer was lost."""
    await admit(state, "m1")
    claimed = await claim(state, "m1")
    await state.restore_window(claimed, NOW)
    await state.restore_window(claimed, NOW)
    assert state.open_windows == 1
    assert await claim(state, "m1") == claimed
    assert state.open_windows == 0


async def test_the_window_of_a_finished_message_can_be_restored(state: StateStore) -> None:
    await admit(state, "m1")
    claimed = await claim(state, "m1")
    await state.finish("m1", NOW)
    await state.restore_window(claimed, NOW)
    assert await claim(state, "m1") == claimed


async def test_a_window_restored_after_it_expired_stays_closed(state: StateStore) -> None:
    await admit(state, "m1")
    await state.restore_window(await claim(state, "m1"), NOW + HOUR)
    assert await state.claim_window([CHAT], "m1", NOW + HOUR) is None


async def test_a_spare_window_is_one_of_the_same_sender_whose_message_is_finished(state: StateStore) -> None:
    """A continued reply must not use a window that another reply needs, nor one that quotes another person."""
    await admit(state, "mine-answered")
    await admit(state, "mine-in-progress", NOW + 1)
    await admit(state, "mine-idle", NOW + 2)
    await admit(state, "theirs-idle", NOW + 3, sender_id="bob")
    await claim(state, "mine-answered", NOW + 4)
    for message_id in ("mine-answered", "mine-idle", "theirs-idle"):
        await state.finish(message_id, NOW + 4)
    spare = await state.claim_window([CHAT], None, NOW + 5, spare_of="alice")
    assert spare is not None
    assert spare.message_id == "mine-idle"
    assert await state.claim_window([CHAT], None, NOW + 5, spare_of="alice") is None


async def test_windows_that_expire_unspent_are_counted_once(state: StateStore) -> None:
    """A spent window is not counted; a window that is restored after it expired is."""
    for message_id in ("open", "spent", "restored", "restored late"):
        await admit(state, message_id)
    claimed = {}
    for message_id in ("spent", "restored", "restored late"):
        claimed[message_id] = await claim(state, message_id)
        await state.finish(message_id, NOW)
    await state.spend_window(claimed["spent"], NOW)
    await state.restore_window(claimed["restored"], NOW + 1)
    assert state.expired_windows == 0
    await state.restore_window(claimed["restored late"], NOW + HOUR)
    await admit(state, "later", NOW + HOUR)
    assert state.expired_windows == 3
    await admit(state, "much later", NOW + HOUR + 1)
    assert state.expired_windows == 3
    assert state.open_windows == 2


async def test_a_message_admitted_again_after_its_claim_expired_has_one_window(state: StateStore) -> None:
    await admit(state, "m1")
    await state.finish("m1", NOW)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)
    assert state.open_windows == 1
    assert state.expired_windows == 1
    assert await claim(state, "m1", NOW + CLAIM_SECONDS) == window("m1", NOW + CLAIM_SECONDS)
    assert await state.claim_window([CHAT], None, NOW + CLAIM_SECONDS) is None


async def test_a_message_with_a_stream_is_admitted_answered_and_finished_like_any_other(state: StateStore) -> None:
    assert await state.admit([admission_with_stream("m1"), admission("m2")], NOW) == [True, True]
    assert await state.admit([admission_with_stream("m1")], NOW) == [False]
    claimed = await claim(state, "m1")
    assert claimed == window("m1")
    await state.spend_window(claimed, NOW)
    await state.finish("m1", NOW)
    assert await state.admit([admission_with_stream("m1")], NOW) == [False]
    assert state.open_windows == 1


async def test_a_message_with_a_stream_is_released_and_taken_over_like_any_other(state: StateStore) -> None:
    await state.admit([admission_with_stream("m1")], NOW)
    assert await state.release("m1", NOW)
    assert await state.take_over(NOW) == [stored("m1")]
    assert await state.read_frame(stream_id("m1"), CHAT, NOW) is None
    assert await claim(state, "m1") == window("m1")


async def test_a_stream_whose_last_frame_no_other_process_read_can_be_closed_and_is_unknown_then(
    state: StateStore,
) -> None:
    await state.admit([admission_with_stream("m1")], NOW)
    await state.write_frame("m1", StreamFrame("text"), NOW)
    await state.write_frame("m1", StreamFrame("the whole text", is_last=True), NOW)
    assert not await state.is_fetched("m1", NOW)
    for _ in range(2):
        assert await state.close_stream("m1", NOW)
        assert await state.read_frame(stream_id("m1"), CHAT, NOW) is None
        assert not await state.is_fetched("m1", NOW)


async def test_frames_of_a_message_without_a_stream_are_stored_nowhere(state: StateStore) -> None:
    """Neither of one that was never admitted, nor of an event, which has no window and so no chat."""
    await admit(state, "m1")
    await state.admit([admission_of_event("event")], NOW)
    for message_id in ("m1", "event", "unknown"):
        await state.write_frame(message_id, StreamFrame("text", is_last=True), NOW)
        await state.confirm_fetch(stream_id(message_id), NOW)
        assert await state.read_frame(stream_id(message_id), CHAT, NOW) is None
        assert not await state.is_fetched(message_id, NOW)
        assert await state.close_stream(message_id, NOW)


def test_a_frame_is_shown_without_its_text() -> None:
    assert repr(StreamFrame("canary", is_last=True)) == "<StreamFrame of 6 characters>"
