"""What every backend of the state does. A new backend is added to `backends.py` and to nothing here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.policy.reply_window import chat_key
from maven_channel_wecom.state.store import CLAIM_SECONDS
from tests.state.backends import BACKENDS
from tests.state.messages import (
    CHAT,
    HOUR,
    NOW,
    admission,
    admission_of_event,
    admit,
    claim,
    take_over_all,
    window,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maven_channel_wecom.state.store import StateStore

OTHER = chat_key("other", is_group=True)

# A person and a group with the same id.
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


async def test_of_many_admissions_of_one_message_one_is_new(state: StateStore) -> None:
    """In one batch or in many, claiming is one atomic step."""
    batches = [[admission("m1"), admission("m1")] for _ in range(25)]
    results = await asyncio.gather(*(state.admit(batch, NOW) for batch in batches))
    assert sum(sum(result) for result in results) == 1
    assert state.open_windows == 1


async def test_results_stand_in_the_order_of_the_batch(state: StateStore) -> None:
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


async def test_of_two_in_a_batch_with_one_id_the_first_is_new(state: StateStore) -> None:
    """The window is the first one's too."""
    batch = [admission("m1"), admission("m2"), admission("m1", chat=OTHER), admission("m1")]
    assert await state.admit(batch, NOW) == [True, True, False, False]
    assert state.open_windows == 2
    assert await state.claim_window([OTHER], "m1", NOW) is None
    assert await claim(state, "m1") == window("m1")


async def test_an_empty_batch_admits_nothing(state: StateStore) -> None:
    assert await state.admit([], NOW) == []


async def test_a_large_batch_is_admitted_as_a_whole(state: StateStore) -> None:
    batch = [admission(f"m{number}", NOW + number) for number in range(200)]
    assert await state.admit(batch, NOW) == [True] * 200
    assert await state.admit(batch, NOW) == [False] * 200
    assert state.open_windows == 200


async def test_a_message_whose_admission_was_cancelled_is_taken_over_or_new(state: StateStore) -> None:
    """Whatever was stored for a caller who was cancelled has no owner."""
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
                # A backend may need a moment to undo the claim, and does not announce it.
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


async def test_an_unfinished_message_is_recognized_however_long_it_takes(state: StateStore) -> None:
    """An agent may think for longer than a claim lives."""
    await admit(state, "m1")
    assert not await admit(state, "m1", NOW + 2 * CLAIM_SECONDS)


async def test_a_released_message_is_new_again(state: StateStore) -> None:
    await admit(state, "m1")
    await state.release("m1", NOW)
    assert await state.claim_window([CHAT], "m1", NOW) is None
    assert await admit(state, "m1")
    assert await state.claim_window([CHAT], "m1", NOW) is not None


async def test_a_released_message_that_was_answered_stays_claimed(state: StateStore) -> None:
    """A spent window is the record of an answer: a repeat must not be answered again."""
    await admit(state, "m1")
    await state.spend_window(await claim(state, "m1"), NOW)
    await state.release("m1", NOW)
    assert not await admit(state, "m1")


async def test_a_released_message_whose_answer_is_on_its_way_stays_claimed(state: StateStore) -> None:
    await admit(state, "m1")
    await claim(state, "m1")
    await state.release("m1", NOW)
    assert not await admit(state, "m1")


async def test_releasing_or_finishing_an_unknown_message_does_nothing(state: StateStore) -> None:
    await state.release("m1", NOW)
    await state.finish("m1", NOW)
    assert await admit(state, "m1")


async def test_what_this_process_has_in_progress_is_not_taken_over(state: StateStore) -> None:
    await admit(state, "m1")
    assert await state.take_over(NOW) == []


async def test_a_callback_needs_no_window(state: StateStore) -> None:
    """An event cannot be answered."""
    assert await state.admit([admission_of_event("e1")], NOW) == [True]
    assert await state.claim_window([CHAT], "e1", NOW) is None
    assert await state.admit([admission_of_event("e1")], NOW) == [False]
    await state.release("e1", NOW)
    assert await state.admit([admission_of_event("e1")], NOW) == [True]


async def test_a_window_is_that_of_the_message_answered(state: StateStore) -> None:
    """Two people ask in one group; each answer finds its own window, in whatever order."""
    await admit(state, "m1")
    await admit(state, "m2", NOW + 1)
    assert await claim(state, "m1", NOW + 2) == window("m1")
    assert await claim(state, "m2", NOW + 2) == window("m2", NOW + 1)


async def test_a_window_is_claimed_once(state: StateStore) -> None:
    await admit(state, "m1")
    claimed = await asyncio.gather(*(state.claim_window([CHAT], "m1", NOW) for _ in range(50)))
    assert [found for found in claimed if found] == [window("m1")]
    assert state.open_windows == 0


async def test_without_a_message_the_newest_window_of_the_chat_is_claimed(state: StateStore) -> None:
    """And then the next newest; other chats have their own."""
    await admit(state, "m1")
    await admit(state, "m2", NOW + 1)
    await admit(state, "m3", NOW + 2, chat=OTHER)
    claimed = [await state.claim_window([CHAT], None, NOW + 3) for _ in range(3)]
    assert [found and found.message_id for found in claimed] == ["m2", "m1", None]


async def test_a_window_of_another_chat_is_not_claimed(state: StateStore) -> None:
    """A message id alone does not open it."""
    await admit(state, "m1")
    assert await state.claim_window([OTHER], "m1", NOW) is None
    assert await state.claim_window([CHAT], "m1", NOW) is not None


async def test_a_group_called_like_a_person_has_its_own_windows(state: StateStore) -> None:
    await admit(state, "group", NOW + 1, chat=GROUP_CALLED_ALICE, sender_id="bob")
    await admit(state, "single", NOW, chat=ALICE)
    assert await state.claim_window([ALICE], "group", NOW + 2) is None
    assert await state.claim_window([GROUP_CALLED_ALICE], "single", NOW + 2) is None
    claimed = await state.claim_window([ALICE], None, NOW + 2)
    assert claimed == window("single", chat=ALICE)
    assert await state.claim_window([ALICE], None, NOW + 2) is None
    claimed = await state.claim_window([GROUP_CALLED_ALICE], None, NOW + 2)
    assert claimed == window("group", NOW + 1, chat=GROUP_CALLED_ALICE, sender_id="bob")


async def test_a_message_is_found_in_either_of_two_chats(state: StateStore) -> None:
    """A host that answers names a chat id and not its kind."""
    await admit(state, "group", chat=GROUP_CALLED_ALICE)
    await admit(state, "single", chat=ALICE)
    await admit(state, "other", chat=OTHER)
    for message_id in ("group", "single"):
        claimed = await state.claim_window([ALICE, GROUP_CALLED_ALICE], message_id, NOW)
        assert claimed is not None
        assert claimed.message_id == message_id
    assert await state.claim_window([ALICE, GROUP_CALLED_ALICE], "other", NOW) is None


async def test_the_first_of_two_chats_with_an_open_window_counts(state: StateStore) -> None:
    """Its older window goes before a newer one of the second chat."""
    await admit(state, "single", NOW, chat=ALICE)
    await admit(state, "group", NOW + 1, chat=GROUP_CALLED_ALICE)
    chats = [ALICE, GROUP_CALLED_ALICE]
    claimed = [await state.claim_window(chats, None, NOW + 2) for _ in range(3)]
    assert [found and found.message_id for found in claimed] == ["single", "group", None]


async def test_a_spare_window_is_looked_for_in_both_chats(state: StateStore) -> None:
    await admit(state, "single in progress", NOW, chat=ALICE)
    await admit(state, "group finished", NOW + 1, chat=GROUP_CALLED_ALICE)
    await state.finish("group finished", NOW + 2)
    spare = await state.claim_window([ALICE, GROUP_CALLED_ALICE], None, NOW + 3, spare_of="alice")
    assert spare is not None
    assert spare.message_id == "group finished"


async def test_a_window_closes_at_its_end(state: StateStore) -> None:
    """For a claim by message and by chat alike."""
    await admit(state, "m1")
    await admit(state, "m2")
    assert await state.claim_window([CHAT], "m1", NOW + HOUR - 0.001) is not None
    assert await state.claim_window([CHAT], "m2", NOW + HOUR) is None
    assert await state.claim_window([CHAT], None, NOW + HOUR) is None


async def test_the_window_of_a_finished_message_stays_open(state: StateStore) -> None:
    """An answer may take most of an hour."""
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


async def test_a_restored_window_is_no_newer_than_it_was(state: StateStore) -> None:
    for number in range(3):
        await admit(state, f"m{number}", NOW + number)
    await state.restore_window(await claim(state, "m1", NOW + 3), NOW + 4)
    claimed = [await state.claim_window([CHAT], None, NOW + 5) for _ in range(4)]
    assert [found and found.message_id for found in claimed] == ["m2", "m1", "m0", None]


async def test_a_window_restored_twice_is_open_once(state: StateStore) -> None:
    """An answer of the state that was lost is asked for again."""
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


async def test_a_message_whose_window_was_restored_counts_as_unanswered(state: StateStore) -> None:
    """Releasing it makes it new again."""
    await admit(state, "m1")
    await state.restore_window(await claim(state, "m1"), NOW)
    await state.release("m1", NOW)
    assert await admit(state, "m1")


async def test_a_window_restored_after_its_end_stays_closed(state: StateStore) -> None:
    """WeCom would refuse it."""
    await admit(state, "m1")
    await state.restore_window(await claim(state, "m1"), NOW + HOUR)
    assert await state.claim_window([CHAT], "m1", NOW + HOUR) is None


async def test_a_spare_window_is_one_of_the_same_sender_that_nobody_is_answering(state: StateStore) -> None:
    """An answer that goes on must not take what another answer needs, nor quote another person."""
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
    """Spent and closed ones are not among them; one that is restored after its end is."""
    for message_id in ("open", "spent", "released", "restored", "restored late"):
        await admit(state, message_id)
    await state.release("released", NOW)
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


async def test_a_message_admitted_again_has_one_window(state: StateStore) -> None:
    """Its first claim and window have expired; the new window takes their place."""
    await admit(state, "m1")
    await state.finish("m1", NOW)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)
    assert state.open_windows == 1
    assert state.expired_windows == 1
    assert await claim(state, "m1", NOW + CLAIM_SECONDS) == window("m1", NOW + CLAIM_SECONDS)
    assert await state.claim_window([CHAT], None, NOW + CLAIM_SECONDS) is None
