"""What every backend that outlives its process still knows afterwards. A new one is added to DURABLE only."""

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

# Long enough after NOW for a process to count as dead, and short enough for its claims to live.
LATER = NOW + 120


class Place:
    """A backend whose stores are closed, or left behind as by a crash, before the next one is opened."""

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
async def place(request: pytest.FixtureRequest, tmp_path: Path, *, closed: bool) -> AsyncIterator[Place]:
    async with BACKENDS[request.param](tmp_path) as backend:
        yield Place(backend, closed=closed)


async def test_what_was_acknowledged_is_taken_over_oldest_first(place: Place) -> None:
    """As it was received, whatever its text; an event without a window too."""
    state = await place.open()
    await admit(state, "second", NOW + 2)
    await admit(state, "first", NOW + 1)
    await state.admit([admission_of_event("event", NOW + 3)], NOW + 3)
    state = await place.open()
    assert await state.take_over(LATER) == [
        stored("first", NOW + 1),
        stored("second", NOW + 2),
        stored("event", NOW + 3),
    ]


async def test_an_unfinished_callback_is_given_once(place: Place) -> None:
    """What is admitted meanwhile is in progress and not taken over."""
    await admit(await place.open(), "m1")
    state = await place.open()
    await admit(state, "m2", LATER)
    assert await state.take_over(LATER) == [stored("m1")]
    assert await state.take_over(LATER) == []
    assert not await admit(state, "m1", NOW + 2 * CLAIM_SECONDS)


async def test_a_callback_taken_over_and_not_finished_is_taken_over_again(place: Place) -> None:
    """A process may die as often as it likes."""
    await admit(await place.open(), "m1")
    for times in range(1, 4):
        assert await (await place.open()).take_over(NOW + times * 120) == [stored("m1")]
    state = await place.open()
    await state.take_over(NOW + 480)
    await state.finish("m1", LATER)
    state = await place.open()
    assert await state.take_over(NOW + 600) == []


async def test_a_finished_message_is_not_taken_over_and_still_recognized(place: Place) -> None:
    """Until its claim expires."""
    state = await place.open()
    await admit(state, "m1")
    await state.finish("m1", NOW)
    state = await place.open()
    assert await state.take_over(LATER) == []
    assert not await admit(state, "m1", NOW + CLAIM_SECONDS - 0.001)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_a_released_message_is_forgotten(place: Place) -> None:
    state = await place.open()
    await admit(state, "m1")
    await state.release("m1", NOW)
    state = await place.open()
    assert await state.take_over(LATER) == []
    assert await state.claim_window([CHAT], "m1", LATER) is None
    assert await admit(state, "m1", LATER)


async def test_a_message_taken_over_can_be_released(place: Place) -> None:
    """As if it had been admitted by the process that took it over."""
    await admit(await place.open(), "m1")
    state = await place.open()
    await state.take_over(LATER)
    await state.release("m1", LATER)
    assert await admit(state, "m1", LATER)


async def test_an_open_window_stays_open_and_the_same(place: Place) -> None:
    """The answer goes where the question came from, by name and as the newest of its chat."""
    state = await place.open()
    for number in range(3):
        await admit(state, f"m{number}", NOW + number)
    await state.finish("m1", NOW + 3)
    state = await place.open()
    assert state.open_windows == 3
    await state.take_over(LATER)
    assert await state.claim_window([CHAT], None, LATER, spare_of="alice") == window("m1", NOW + 1)
    assert await state.claim_window([CHAT], "m0", LATER) == window("m0")
    assert await state.claim_window([CHAT], None, LATER) == window("m2", NOW + 2)


async def test_an_answered_message_is_finished_and_not_taken_over(place: Place) -> None:
    """A spent window is the record of an answer."""
    state = await place.open()
    await admit(state, "m1")
    await state.spend_window(await claim(state, "m1"), NOW)
    state = await place.open()
    assert await state.take_over(LATER) == []
    assert await state.claim_window([CHAT], "m1", LATER) is None
    assert not await admit(state, "m1", LATER)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_an_answer_in_flight_may_be_repeated_after_a_take_over(place: Place) -> None:
    """Its window is open again and says that its reply may have arrived, however often its process died."""
    state = await place.open()
    await admit(state, "m1")
    await claim(state, "m1")
    state = await place.open()
    assert await state.take_over(LATER) == [stored("m1")]
    assert await claim(state, "m1", LATER) == window("m1", repeated=True)
    assert state.open_windows == 0
    state = await place.open()
    assert await state.take_over(LATER + 120) == [stored("m1")]
    assert await claim(state, "m1", LATER + 120) == window("m1", repeated=True)


async def test_a_repeated_window_that_nobody_used_stays_repeated(place: Place) -> None:
    """A process that died before its answer has repeated nothing."""
    state = await place.open()
    await admit(state, "m1")
    await claim(state, "m1")
    for times in range(1, 3):
        assert await (await place.open()).take_over(NOW + times * 120) == [stored("m1")]
    state = await place.open()
    assert await state.take_over(NOW + 360) == [stored("m1")]
    assert await claim(state, "m1", NOW + 360) == window("m1", repeated=True)


async def test_a_restored_window_was_not_in_flight(place: Place) -> None:
    """Its reply surely was not sent, so the next one is no repeat; a repeated window stays repeated."""
    state = await place.open()
    await admit(state, "m1")
    await state.restore_window(await claim(state, "m1"), NOW)
    state = await place.open()
    await state.take_over(LATER)
    assert await claim(state, "m1", LATER) == window("m1")
    state = await place.open()
    await state.take_over(LATER + 120)
    await state.restore_window(await claim(state, "m1", LATER + 120), LATER + 120)
    state = await place.open()
    assert await state.take_over(LATER + 240) == [stored("m1")]
    assert await claim(state, "m1", LATER + 240) == window("m1", repeated=True)


async def test_a_claimed_window_of_a_finished_message_stays_closed(place: Place) -> None:
    """Nobody will answer through it again, and its answer may have arrived."""
    state = await place.open()
    await admit(state, "m1")
    await claim(state, "m1")
    await state.finish("m1", NOW)
    state = await place.open()
    assert await state.take_over(LATER) == []
    assert await state.claim_window([CHAT], "m1", LATER) is None
    assert await state.claim_window([CHAT], None, LATER) is None


async def test_a_window_that_expired_meanwhile_is_closed(place: Place) -> None:
    """A process that starts after a long time takes over the callback alone."""
    await admit(await place.open(), "m1")
    state = await place.open()
    assert await state.take_over(NOW + HOUR) == [stored("m1")]
    assert await state.claim_window([CHAT], "m1", NOW + HOUR) is None


async def test_a_backlog_comes_in_pieces(place: Place) -> None:
    """At most as many as asked for, oldest first, and none is left out."""
    state = await place.open()
    for number in range(5):
        await admit(state, f"m{number}", NOW + number)
    state = await place.open()
    pieces = [await state.take_over(LATER, most=2) for _ in range(4)]
    assert [[callback.message_id for callback in piece] for piece in pieces] == [["m0", "m1"], ["m2", "m3"], ["m4"], []]
