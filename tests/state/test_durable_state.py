"""What every backend that outlives its process knows again. A new one is added to DURABLE and to nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.later import settled
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.port import CLAIM_SECONDS, KeptCallback
from tests.state.backends import BACKENDS, DURABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maven_channel_wecom.state.port import StateStore
    from tests.state.backends import Backend

NOW = 1_700_000_000.0
HOUR = 3600.0

# Long enough after NOW for a process to be taken for dead, and short enough for its claims to live.
LATER = NOW + 120


class Place:
    """A backend, and how the store opened on it before comes to its end."""

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


def kept(message_id: str, received_at: float = NOW) -> KeptCallback:
    return KeptCallback(message_id, "chat", received_at, f"message {message_id} \0 文字".encode())


def window(message_id: str, *, opened_at: float = NOW, repeated: bool = False) -> ReplyWindow:
    url = f"https://x/{message_id}?文字"
    return ReplyWindow(message_id, "chat", "alice", url, opened_at, opened_at + HOUR, repeated)


async def admit(state: StateStore, message_id: str, now: float = NOW) -> bool:
    return await settled(state.admit(kept(message_id, now), window(message_id, opened_at=now), now))


async def claim(state: StateStore, message_id: str, now: float = NOW) -> ReplyWindow:
    claimed = await state.claim_window("chat", message_id, now)
    assert claimed is not None
    return claimed


async def test_what_was_acknowledged_is_taken_up_again_oldest_first(place: Place) -> None:
    """As it was received, whatever its text, an event without a window too."""
    state = await place.open()
    await admit(state, "second", NOW + 2)
    await admit(state, "first", NOW + 1)
    await settled(state.admit(kept("event", NOW + 3), None, NOW + 3))
    state = await place.open()
    assert await state.unfinished(LATER) == [kept("first", NOW + 1), kept("second", NOW + 2), kept("event", NOW + 3)]


async def test_an_unfinished_callback_is_given_once(place: Place) -> None:
    """Whoever gets it has it in hand; what is admitted meanwhile is not for taking."""
    await admit(await place.open(), "m1")
    state = await place.open()
    await admit(state, "m2", LATER)
    assert await state.unfinished(LATER) == [kept("m1")]
    assert await state.unfinished(LATER) == []
    assert not await admit(state, "m1", NOW + 2 * CLAIM_SECONDS)


async def test_a_callback_taken_up_and_not_finished_is_taken_up_again(place: Place) -> None:
    """A process may die as often as it likes."""
    await admit(await place.open(), "m1")
    for times in range(1, 4):
        assert await (await place.open()).unfinished(NOW + times * 120) == [kept("m1")]
    state = await place.open()
    await state.unfinished(NOW + 480)
    await state.finish("m1", LATER)
    state = await place.open()
    assert await state.unfinished(NOW + 600) == []


async def test_a_finished_message_is_not_taken_up_and_still_recognized(place: Place) -> None:
    """Until its claim expires, as if nothing had happened."""
    state = await place.open()
    await admit(state, "m1")
    await state.finish("m1", NOW)
    state = await place.open()
    assert await state.unfinished(LATER) == []
    assert not await admit(state, "m1", NOW + CLAIM_SECONDS - 0.001)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_a_released_message_is_forgotten(place: Place) -> None:
    """By those who come later too."""
    state = await place.open()
    await admit(state, "m1")
    await state.release("m1", NOW)
    state = await place.open()
    assert await state.unfinished(LATER) == []
    assert await state.claim_window("chat", "m1", LATER) is None
    assert await admit(state, "m1", LATER)


async def test_a_message_taken_up_can_be_released(place: Place) -> None:
    """It is in the hand of who took it up, as if admitted there."""
    await admit(await place.open(), "m1")
    state = await place.open()
    await state.unfinished(LATER)
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
    await state.unfinished(LATER)
    assert await state.claim_window("chat", None, LATER, spare_of="alice") == window("m1", opened_at=NOW + 1)
    assert await state.claim_window("chat", "m0", LATER) == window("m0")
    assert await state.claim_window("chat", None, LATER) == window("m2", opened_at=NOW + 2)


async def test_an_answered_message_is_finished_and_not_taken_up(place: Place) -> None:
    """A window spent is the record of an answer."""
    state = await place.open()
    await admit(state, "m1")
    await state.spend_window(await claim(state, "m1"), NOW)
    state = await place.open()
    assert await state.unfinished(LATER) == []
    assert await state.claim_window("chat", "m1", LATER) is None
    assert not await admit(state, "m1", LATER)
    assert await admit(state, "m1", NOW + CLAIM_SECONDS)


async def test_who_takes_over_an_answer_in_flight_may_repeat_it(place: Place) -> None:
    """Its window is open again and says that its reply may have arrived, however often its process died."""
    state = await place.open()
    await admit(state, "m1")
    await claim(state, "m1")
    state = await place.open()
    assert await state.unfinished(LATER) == [kept("m1")]
    assert await claim(state, "m1", LATER) == window("m1", repeated=True)
    assert state.open_windows == 0
    state = await place.open()
    assert await state.unfinished(LATER + 120) == [kept("m1")]
    assert await claim(state, "m1", LATER + 120) == window("m1", repeated=True)


async def test_a_repeated_window_that_nobody_used_stays_repeated(place: Place) -> None:
    """A process that died before its answer has repeated nothing."""
    state = await place.open()
    await admit(state, "m1")
    await claim(state, "m1")
    for times in range(1, 3):
        assert await (await place.open()).unfinished(NOW + times * 120) == [kept("m1")]
    state = await place.open()
    assert await state.unfinished(NOW + 360) == [kept("m1")]
    assert await claim(state, "m1", NOW + 360) == window("m1", repeated=True)


async def test_a_restored_window_was_not_in_flight(place: Place) -> None:
    """Its reply surely was not sent, so the next one is no repeat; a repeated one stays what it was."""
    state = await place.open()
    await admit(state, "m1")
    await state.restore_window(await claim(state, "m1"), NOW)
    state = await place.open()
    await state.unfinished(LATER)
    assert await claim(state, "m1", LATER) == window("m1")
    state = await place.open()
    await state.unfinished(LATER + 120)
    await state.restore_window(await claim(state, "m1", LATER + 120), LATER + 120)
    state = await place.open()
    assert await state.unfinished(LATER + 240) == [kept("m1")]
    assert await claim(state, "m1", LATER + 240) == window("m1", repeated=True)


async def test_a_claimed_window_of_a_finished_message_stays_closed(place: Place) -> None:
    """Nobody is going to answer it, and somebody may have answered through it."""
    state = await place.open()
    await admit(state, "m1")
    await claim(state, "m1")
    await state.finish("m1", NOW)
    state = await place.open()
    assert await state.unfinished(LATER) == []
    assert await state.claim_window("chat", "m1", LATER) is None
    assert await state.claim_window("chat", None, LATER) is None


async def test_what_expired_meanwhile_is_over(place: Place) -> None:
    """A process that comes up after a long time takes up the callback; its window is closed."""
    await admit(await place.open(), "m1")
    state = await place.open()
    assert await state.unfinished(NOW + HOUR) == [kept("m1")]
    assert await state.claim_window("chat", "m1", NOW + HOUR) is None


async def test_a_backlog_comes_in_pieces(place: Place) -> None:
    """As many at a time as there is room for, oldest first, and none is left out."""
    state = await place.open()
    for number in range(5):
        await admit(state, f"m{number}", NOW + number)
    state = await place.open()
    pieces = [await state.unfinished(LATER, most=2) for _ in range(4)]
    assert [[callback.message_id for callback in piece] for piece in pieces] == [["m0", "m1"], ["m2", "m3"], ["m4"], []]
