"""What the steps of a state report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, get_args

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.store import Admission, StateStore, StoredCallback
from maven_channel_wecom.telemetry.events import StateOperation, StateStepEnded, TelemetryEvent
from maven_channel_wecom.telemetry.timed_state import TimedState
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CALLBACK = StoredCallback("m1", 1_000.0, b"{}")
WINDOW = ReplyWindow("m1", "single:alice", "alice", "https://example.invalid", 1_000.0, 4_600.0)
BATCH = [Admission(CALLBACK, WINDOW), Admission(CALLBACK, None)]

STEPS: dict[StateOperation, tuple[Callable[[StateStore], Awaitable[object]], object]] = {
    "admit": (lambda state: state.admit(BATCH, 1_000.0), [True, False]),
    "release": (lambda state: state.release("m1", 1_001.0), None),
    "finish": (lambda state: state.finish("m1", 1_002.0), None),
    "take_over": (lambda state: state.take_over(1_003.0, most=7), [CALLBACK]),
    "claim_window": (lambda state: state.claim_window(["single:alice"], "m1", 1_004.0, spare_of="bob"), WINDOW),
    "spend_window": (lambda state: state.spend_window(WINDOW, 1_005.0), None),
    "restore_window": (lambda state: state.restore_window(WINDOW, 1_006.0), None),
}
"""How each step is taken, and what it returns."""


class SlowState:
    """A state in which each step takes a quarter of a second of its clock, or fails, or never ends."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.trouble: str | None = None
        self.hangs = False
        self.closed = False

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        await self._step(batch, now)
        return [True, False]

    async def release(self, message_id: str, now: float) -> None:
        await self._step(message_id, now)

    async def finish(self, message_id: str, now: float) -> None:
        await self._step(message_id, now)

    async def take_over(self, now: float, *, most: int = 1_000) -> list[StoredCallback]:
        await self._step(now, most)
        return [CALLBACK]

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        await self._step(chats, reply_to, now, spare_of)
        return WINDOW

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        await self._step(window, now)

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        await self._step(window, now)

    @property
    def open_windows(self) -> int:
        return 3

    @property
    def expired_windows(self) -> int:
        return 5

    async def health(self) -> str | None:
        return self.trouble

    async def close(self) -> None:
        self.closed = True

    async def _step(self, *arguments: object) -> None:
        self.calls.append(arguments)
        self.clock.time += 0.25
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error


class Bench:
    """A timed state, the one behind it, and what was reported."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.behind = SlowState(clock)
        self.reported: list[TelemetryEvent] = []
        self.state = TimedState(self.behind, self.reported.append, clock.now)


def test_every_operation_is_a_step() -> None:
    assert set(STEPS) == set(get_args(StateOperation))


@pytest.mark.parametrize("operation", STEPS)
async def test_a_step_is_timed_and_returns_what_the_state_returned(operation: StateOperation) -> None:
    bench = Bench()
    take, result = STEPS[operation]
    assert await take(bench.state) == result
    assert bench.reported == [StateStepEnded(operation=operation, seconds=0.25)]
    assert bench.state.up


@pytest.mark.parametrize("operation", STEPS)
async def test_a_step_hands_on_what_it_was_given(operation: StateOperation) -> None:
    timed, plain = Bench(), Bench()
    take, _ = STEPS[operation]
    await take(timed.state)
    await take(plain.behind)
    assert timed.behind.calls == plain.behind.calls


@pytest.mark.parametrize("reason", ["state", "state_full"])
@pytest.mark.parametrize("operation", STEPS)
async def test_a_step_the_state_refused_has_its_reason(operation: StateOperation, reason: str) -> None:
    bench = Bench()
    bench.behind.error = StateUnavailable(reason=reason)
    with pytest.raises(StateUnavailable):
        await STEPS[operation][0](bench.state)
    (ended,) = bench.reported
    assert isinstance(ended, StateStepEnded)
    assert (ended.operation, ended.seconds, ended.failure) == (operation, 0.25, reason)
    assert not bench.state.up


async def test_a_state_is_down_until_an_admission_succeeds() -> None:
    """Other steps may succeed while there is no room."""
    bench = Bench()
    bench.behind.error = StateUnavailable(reason="state_full")
    with pytest.raises(StateUnavailable):
        await bench.state.admit(BATCH, 1_000.0)
    bench.behind.error = None
    await bench.state.finish("m0", 1_000.0)
    assert not bench.state.up
    await bench.state.admit(BATCH, 1_000.0)
    assert bench.state.up


async def test_an_admission_whose_time_is_over_is_a_failure_of_the_state() -> None:
    """A disk that hangs refuses nothing, and must not look well."""
    bench = Bench()
    bench.behind.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await bench.state.admit(BATCH, 1_000.0)
    assert bench.reported == [StateStepEnded(operation="admit", seconds=0.25, failure="state")]
    assert not bench.state.up


async def test_another_step_that_was_cancelled_says_nothing_about_the_state() -> None:
    """Its channel stops, or its host gave the answer up."""
    bench = Bench()
    bench.behind.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await bench.state.finish("m1", 1_000.0)
    assert bench.reported == [StateStepEnded(operation="finish", seconds=0.25)]
    assert bench.state.up


async def test_health_is_the_states_and_is_remembered() -> None:
    bench = Bench()
    bench.behind.trouble = "the disk is full"
    assert await bench.state.health() == "the disk is full"
    assert not bench.state.up
    bench.behind.trouble = None
    assert await bench.state.health() is None
    assert bench.state.up


async def test_what_takes_no_time_is_handed_on() -> None:
    bench = Bench()
    assert (bench.state.open_windows, bench.state.expired_windows) == (3, 5)
    await bench.state.close()
    assert bench.behind.closed
    assert bench.reported == []
