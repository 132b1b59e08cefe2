"""Behavior that all backends in DURABLE share after the end of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.state.store import CLAIM_SECONDS
from tests.state.backends import BACKENDS, DURABLE
from tests.state.messages import CHAT, HOUR, NOW, admission_of_event, admit, claim, stored, window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maven_channel_wecom.state.store import StateStore
    from tests.state.backends import Backend

# Long enough after NOW for a process to count as dead, and too short for its claims to expire.
LATER = NOW + 120


class Restarts:
    """A backend on which each store is closed, or abandoned as in a crash, before the next one is opened."""

    def __init__(self, backend: Backend, *, closed: bool) -> None:
        self._backend = backend
        self._closed = closed
        self._open: StateStore | None = None

    async def open(self) -> StateStore:
        if self._open and self._closed:
            await self._open.close()
        self._open = await self._backend.open()
        return self._open


@pytest.fixture(params=["closed", "crashed"])
def closed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "closed")


@pytest.fixture(params=DURABLE)
async def restarts(request: pytest.FixtureRequest, tmp_path: Path, *, closed: bool) -> AsyncIterator[Restarts]:
    async with BACKENDS[request.param](tmp_path) as backend:
        yield Restarts(backend, closed=closed)


async def test_messages_in_progress_are_taken_over_oldest_first(restarts: Restarts) -> None:
    """Callbacks are returned as they were stored, including those of events, which have no window."""
    state = await restarts.open()
    await admit(state, "second", NOW + 2)
    await admit(state, "first", NOW + 1)
    await state.admit([admission_of_event("event", NOW + 3)], NOW + 3)
    state = await restarts.open()
    assert await state.take_over(LATER) == [
        stored("first", NOW + 1),
        stored("second", NOW + 2),
        stored("event", NOW + 3),
    ]


async def test_a_message_in_progress_is_taken_over_once(restarts: Restarts) -> None:
    """A message that the new process has admitted itself is not taken over."""
    await admit(await restarts.open(), "m1")
    state = await restarts.open()
    await admit(state, "m2", LATER)
    assert await state.take_over(LATER) == [stored("m1")]
    assert await state.take_over(LATER) == []
    assert not await admit(state, "m1", NOW + 2 * CLAIM_SECONDS)


async def test_a_message_is_taken_over_after_each_crash_until_it_is_finished(restarts: Restarts) -> None:
    await admit(await restarts.open(), "m1")
    for times in range(1, 4):
        assert await (await restarts.open()).take_over(NOW + times * 120) == [stored("m1")]
    state = await restarts.open()
    await state.take_over(NOW + 480)
    await state.finish("m1", LATER)
    state = await restarts.open()
    assert await state.take_over(NOW + 600) == []


async def test_a_finished_message_is_not_taken_over_and_is_recognized_until_its_claim_expires(
    restarts: Restarts,
) -> None:
    state = await restarts.open()
    await admit(state, "m1")
    await state.finish("m1", NOW)
    state = await restarts.open()
    assert await state.take_over(LATER) == []
    assert not await admit(state, "m1", NOW + CLAIM_SECONDS - 0.001)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_a_message_taken_over_can_be_released_and_is_taken_over_after_a_restart(restarts: Restarts) -> None:
    await admit(await restarts.open(), "m1")
    state = await restarts.open()
    assert await state.take_over(LATER) == [stored("m1")]
    assert await state.release("m1", LATER)
    state = await restarts.open()
    assert await state.take_over(LATER) == [stored("m1")]
    assert await state.take_over(LATER) == []


async def test_open_windows_are_claimed_by_message_and_by_chat_after_a_restart(restarts: Restarts) -> None:
    state = await restarts.open()
    for number in range(3):
        await admit(state, f"m{number}", NOW + number)
    await state.finish("m1", NOW + 3)
    state = await restarts.open()
    assert state.open_windows == 3
    await state.take_over(LATER)
    assert await state.claim_window([CHAT], None, LATER, spare_of="alice") == window("m1", NOW + 1)
    assert await state.claim_window([CHAT], "m0", LATER) == window("m0")
    assert await state.claim_window([CHAT], None, LATER) == window("m2", NOW + 2)


async def test_an_answered_message_is_finished_and_not_taken_over(restarts: Restarts) -> None:
    state = await restarts.open()
    await admit(state, "m1")
    await state.spend_window(await claim(state, "m1"), NOW)
    state = await restarts.open()
    assert await state.take_over(LATER) == []
    assert await state.claim_window([CHAT], "m1", LATER) is None
    assert not await admit(state, "m1", LATER)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_a_window_that_was_claimed_in_a_crash_is_opened_again_as_repeated(restarts: Restarts) -> None:
    """Its reply may have arrived. This holds for any number of crashes."""
    state = await restarts.open()
    await admit(state, "m1")
    await claim(state, "m1")
    state = await restarts.open()
    assert await state.take_over(LATER) == [stored("m1")]
    assert await claim(state, "m1", LATER) == window("m1", repeated=True)
    assert state.open_windows == 0
    state = await restarts.open()
    assert await state.take_over(LATER + 120) == [stored("m1")]
    assert await claim(state, "m1", LATER + 120) == window("m1", repeated=True)


async def test_a_repeated_window_stays_repeated_after_a_crash_before_its_next_claim(restarts: Restarts) -> None:
    state = await restarts.open()
    await admit(state, "m1")
    await claim(state, "m1")
    for times in range(1, 3):
        assert await (await restarts.open()).take_over(NOW + times * 120) == [stored("m1")]
    state = await restarts.open()
    assert await state.take_over(NOW + 360) == [stored("m1")]
    assert await claim(state, "m1", NOW + 360) == window("m1", repeated=True)


async def test_a_window_that_was_restored_before_a_crash_is_not_marked_as_repeated(restarts: Restarts) -> None:
    """Its reply was certainly not sent. A window that was already marked stays marked."""
    state = await restarts.open()
    await admit(state, "m1")
    await state.restore_window(await claim(state, "m1"), NOW)
    state = await restarts.open()
    await state.take_over(LATER)
    assert await claim(state, "m1", LATER) == window("m1")
    state = await restarts.open()
    await state.take_over(LATER + 120)
    await state.restore_window(await claim(state, "m1", LATER + 120), LATER + 120)
    state = await restarts.open()
    assert await state.take_over(LATER + 240) == [stored("m1")]
    assert await claim(state, "m1", LATER + 240) == window("m1", repeated=True)


async def test_the_claimed_window_of_a_finished_message_stays_closed_after_a_crash(restarts: Restarts) -> None:
    """Its reply may have arrived, and the message is not processed again."""
    state = await restarts.open()
    await admit(state, "m1")
    await claim(state, "m1")
    await state.finish("m1", NOW)
    state = await restarts.open()
    assert await state.take_over(LATER) == []
    assert await state.claim_window([CHAT], "m1", LATER) is None
    assert await state.claim_window([CHAT], None, LATER) is None


async def test_a_message_is_taken_over_without_its_window_if_that_has_expired(restarts: Restarts) -> None:
    await admit(await restarts.open(), "m1")
    state = await restarts.open()
    assert await state.take_over(NOW + HOUR) == [stored("m1")]
    assert await state.claim_window([CHAT], "m1", NOW + HOUR) is None


async def test_a_backlog_is_taken_over_in_portions_oldest_first(restarts: Restarts) -> None:
    state = await restarts.open()
    for number in range(5):
        await admit(state, f"m{number}", NOW + number)
    state = await restarts.open()
    portions = [await state.take_over(LATER, limit=2) for _ in range(4)]
    assert [[callback.message_id for callback in portion] for portion in portions] == [
        ["m0", "m1"],
        ["m2", "m3"],
        ["m4"],
        [],
    ]
