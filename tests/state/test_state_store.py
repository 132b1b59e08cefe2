"""What every backend of the state does. A new one is added to `backends.py` and to nothing here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback
from tests.state.backends import BACKENDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maven_channel_wecom.state.port import StateStore

NOW = 1_700_000_000.0
HOUR = 3600.0


@pytest.fixture(params=BACKENDS)
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    async with BACKENDS[request.param](tmp_path) as backend:
        store = await backend.open()
        yield store
        await store.close()


def kept(message_id: str, chat_id: str = "chat", received_at: float = NOW) -> KeptCallback:
    return KeptCallback(message_id, chat_id, received_at, f"message {message_id}".encode())


def window(message_id: str, chat_id: str = "chat", opened_at: float = NOW, sender_id: str = "alice") -> ReplyWindow:
    return ReplyWindow(message_id, chat_id, sender_id, f"https://x/{message_id}", opened_at, opened_at + HOUR)


async def admit(state: StateStore, message_id: str, *, now: float = NOW, sender_id: str = "alice") -> bool:
    return await settled(
        state.admit(kept(message_id, received_at=now), window(message_id, opened_at=now, sender_id=sender_id), now)
    )


async def test_a_message_is_admitted_once(state: StateStore) -> None:
    """A repeat changes nothing."""
    assert await admit(state, "m1")
    assert not await admit(state, "m1")
    assert await admit(state, "m2")


async def test_of_many_at_once_exactly_one_is_admitted(state: StateStore) -> None:
    """Claiming is one atomic step."""
    results = await asyncio.gather(*(admit(state, "m1") for _ in range(50)))
    assert sum(results) == 1


async def test_a_finished_message_is_recognized_for_five_minutes(state: StateStore) -> None:
    """Until its claim expires, and not a moment less."""
    await admit(state, "m1")
    await state.finish("m1", NOW)
    assert CLAIM_SECONDS >= 300
    assert not await admit(state, "m1", now=NOW + CLAIM_SECONDS - 0.001)
    assert await admit(state, "m1", now=NOW + CLAIM_SECONDS)


async def test_an_unfinished_message_is_recognized_however_long_it_takes(state: StateStore) -> None:
    """An agent may think for longer than a claim lives."""
    await admit(state, "m1")
    assert not await admit(state, "m1", now=NOW + 2 * CLAIM_SECONDS)


async def test_a_released_message_is_new_again(state: StateStore) -> None:
    """With a window of its own, the old one closed."""
    await admit(state, "m1")
    await state.release("m1", NOW)
    assert await state.claim_window("chat", "m1", NOW) is None
    assert await admit(state, "m1")
    assert await state.claim_window("chat", "m1", NOW) is not None


async def test_a_released_message_that_was_answered_stays_claimed(state: StateStore) -> None:
    """A window spent is the record of an answer: a repeat must not be answered again."""
    await admit(state, "m1")
    claimed = await state.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await state.spend_window(claimed, NOW)
    await state.release("m1", NOW)
    assert not await admit(state, "m1")


async def test_releasing_or_finishing_what_is_not_there_does_nothing(state: StateStore) -> None:
    """Neither is an error."""
    await state.release("m1", NOW)
    await state.finish("m1", NOW)
    assert await admit(state, "m1")


async def test_what_this_process_has_in_hand_is_not_taken_over(state: StateStore) -> None:
    """Only the work of a process that is gone is up for taking."""
    await admit(state, "m1")
    assert await state.unfinished(NOW) == []


async def test_a_callback_needs_no_window(state: StateStore) -> None:
    """An event has nothing to be answered through."""
    assert await settled(state.admit(kept("e1"), None, NOW))
    assert await state.claim_window("chat", "e1", NOW) is None
    assert not await settled(state.admit(kept("e1"), None, NOW))


async def test_a_window_is_that_of_the_message_answered(state: StateStore) -> None:
    """Two people ask in one group; each answer finds its own, in whatever order."""
    await admit(state, "m1")
    await admit(state, "m2", now=NOW + 1)
    assert await state.claim_window("chat", "m1", NOW + 2) == window("m1")
    assert await state.claim_window("chat", "m2", NOW + 2) == window("m2", opened_at=NOW + 1)


async def test_a_window_is_spent_once(state: StateStore) -> None:
    """However many reach for it at the same time."""
    await admit(state, "m1")
    claimed = await asyncio.gather(*(state.claim_window("chat", "m1", NOW) for _ in range(50)))
    assert [found for found in claimed if found] == [window("m1")]
    assert state.open_windows == 0


async def test_without_a_message_the_newest_window_of_the_chat_is_taken(state: StateStore) -> None:
    """And then the next newest; other chats have their own."""
    await admit(state, "m1")
    await admit(state, "m2", now=NOW + 1)
    await settled(state.admit(kept("m3", chat_id="other"), window("m3", chat_id="other", opened_at=NOW + 2), NOW + 2))
    taken = [await state.claim_window("chat", None, NOW + 3) for _ in range(3)]
    assert [found and found.message_id for found in taken] == ["m2", "m1", None]


async def test_a_window_of_another_chat_is_not_given_out(state: StateStore) -> None:
    """A message id alone does not open it."""
    await admit(state, "m1")
    assert await state.claim_window("other", "m1", NOW) is None
    assert await state.claim_window("chat", "m1", NOW) is not None


async def test_a_window_closes_at_its_end(state: StateStore) -> None:
    """By name and as the newest of its chat alike."""
    await admit(state, "m1")
    await admit(state, "m2")
    assert await state.claim_window("chat", "m1", NOW + HOUR - 0.001) is not None
    assert await state.claim_window("chat", "m2", NOW + HOUR) is None
    assert await state.claim_window("chat", None, NOW + HOUR) is None


async def test_a_window_outlives_the_claim_of_its_message(state: StateStore) -> None:
    """An answer may take most of an hour."""
    await admit(state, "m1")
    await state.finish("m1", NOW)
    assert await state.claim_window("chat", "m1", NOW + HOUR - 1) == window("m1")


async def test_a_spent_window_stays_spent(state: StateStore) -> None:
    """It is the record of an answer."""
    await admit(state, "m1")
    claimed = await state.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await state.spend_window(claimed, NOW)
    await state.finish("m1", NOW)
    assert await state.claim_window("chat", "m1", NOW) is None
    assert await state.claim_window("chat", None, NOW) is None


async def test_a_restored_window_can_be_claimed_again(state: StateStore) -> None:
    """Its reply surely was not sent."""
    await admit(state, "m1")
    claimed = await state.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await state.restore_window(claimed, NOW + 1)
    assert await state.claim_window("chat", None, NOW + 1) == claimed
    assert await state.claim_window("chat", "m1", NOW + 1) is None


async def test_a_restored_window_is_no_newer_than_it_was(state: StateStore) -> None:
    """Among the windows of its chat it has its old place."""
    for number in range(3):
        await admit(state, f"m{number}", now=NOW + number)
    claimed = await state.claim_window("chat", "m1", NOW + 3)
    assert claimed is not None
    await state.restore_window(claimed, NOW + 4)
    taken = [await state.claim_window("chat", None, NOW + 5) for _ in range(4)]
    assert [found and found.message_id for found in taken] == ["m2", "m1", "m0", None]


async def test_a_message_whose_window_was_restored_counts_as_unanswered(state: StateStore) -> None:
    """Releasing it makes it new again."""
    await admit(state, "m1")
    claimed = await state.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await state.restore_window(claimed, NOW)
    await state.release("m1", NOW)
    assert await admit(state, "m1")


async def test_a_window_restored_after_its_end_stays_closed(state: StateStore) -> None:
    """WeCom would refuse it."""
    await admit(state, "m1")
    claimed = await state.claim_window("chat", "m1", NOW)
    assert claimed is not None
    await state.restore_window(claimed, NOW + HOUR)
    assert await state.claim_window("chat", "m1", NOW + HOUR) is None


async def test_a_spare_window_is_one_of_the_same_sender_that_nobody_is_answering(state: StateStore) -> None:
    """An answer that goes on must not take what another answer needs, nor quote another person."""
    await admit(state, "mine-answered")
    await admit(state, "mine-in-hand", now=NOW + 1)
    await admit(state, "mine-idle", now=NOW + 2)
    await admit(state, "theirs-idle", now=NOW + 3, sender_id="bob")
    await state.claim_window("chat", "mine-answered", NOW + 4)
    for message_id in ("mine-answered", "mine-idle", "theirs-idle"):
        await state.finish(message_id, NOW + 4)
    spare = await state.claim_window("chat", None, NOW + 5, spare_of="alice")
    assert spare is not None
    assert spare.message_id == "mine-idle"
    assert await state.claim_window("chat", None, NOW + 5, spare_of="alice") is None


async def test_windows_that_expire_unspent_are_counted_once(state: StateStore) -> None:
    """Not those that were spent or closed; one that comes back after its end is one of them."""
    for message_id in ("open", "spent", "released", "restored", "restored late"):
        await admit(state, message_id)
    await state.release("released", NOW)
    claimed = {}
    for message_id in ("spent", "restored", "restored late"):
        claimed[message_id] = await state.claim_window("chat", message_id, NOW)
        assert claimed[message_id] is not None
        await state.finish(message_id, NOW)
    assert claimed["spent"] is not None
    assert claimed["restored"] is not None
    assert claimed["restored late"] is not None
    await state.spend_window(claimed["spent"], NOW)
    await state.restore_window(claimed["restored"], NOW + 1)
    assert state.expired_windows == 0
    await state.restore_window(claimed["restored late"], NOW + HOUR)
    await admit(state, "later", now=NOW + HOUR)
    assert state.expired_windows == 3
    await admit(state, "much later", now=NOW + HOUR + 1)
    assert state.expired_windows == 3
    assert state.open_windows == 2


async def test_a_fresh_state_is_healthy_and_empty(state: StateStore) -> None:
    """It can promise, and owes nothing."""
    assert await state.health() is None
    assert await state.unfinished(NOW) == []
    assert state.open_windows == 0
    assert state.expired_windows == 0
