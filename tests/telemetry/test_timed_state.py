"""The events of a state's operations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, get_args

import pytest

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.store import Admission, StateStore, StoredCallback, StreamFrame
from maven_channel_wecom.telemetry.events import StateOperation, StateOperationEnded, TelemetryEvent
from maven_channel_wecom.telemetry.timed_state import TimedState
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CALLBACK = StoredCallback("m1", 1_000.0, b"{}")
WINDOW = ReplyWindow("m1", "single:alice", "alice", "https://example.invalid", 1_000.0, 4_600.0)
FRAME = StreamFrame("text", is_last=True)
BATCH = [Admission(CALLBACK, WINDOW), Admission(CALLBACK, None)]

OPERATIONS: dict[StateOperation, tuple[Callable[[StateStore], Awaitable[object]], object]] = {
    "admit": (lambda state: state.admit(BATCH, 1_000.0), [True, False]),
    "release": (lambda state: state.release("m1", 1_001.0), True),
    "finish": (lambda state: state.finish("m1", 1_002.0), None),
    "take_over": (lambda state: state.take_over(1_003.0, limit=7), [CALLBACK]),
    "claim_window": (lambda state: state.claim_window(["single:alice"], "m1", 1_004.0, spare_of="bob"), WINDOW),
    "spend_window": (lambda state: state.spend_window(WINDOW, 1_005.0), None),
    "restore_window": (lambda state: state.restore_window(WINDOW, 1_006.0), None),
    "write_frame": (lambda state: state.write_frame("m1", FRAME, 1_007.0), None),
    "read_frame": (lambda state: state.read_frame("s1", "single:alice", 1_008.0), FRAME),
    "confirm_fetch": (lambda state: state.confirm_fetch("s1", 1_009.0), None),
    "is_fetched": (lambda state: state.is_fetched("m1", 1_010.0), True),
    "close_stream": (lambda state: state.close_stream("m1", 1_011.0), False),
}
"""For each operation, a function that calls it and the value that it returns."""


class SlowState:
    """A state whose operations take a quarter of a second of its clock, and then raise `error` or hang if told so."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.trouble: str | None = None
        self.hangs = False
        self.closed = False

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        await self._call(batch, now)
        return [True, False]

    async def release(self, message_id: str, now: float) -> bool:
        await self._call(message_id, now)
        return True

    async def finish(self, message_id: str, now: float) -> None:
        await self._call(message_id, now)

    async def take_over(self, now: float, *, limit: int = 1_000) -> list[StoredCallback]:
        await self._call(now, limit)
        return [CALLBACK]

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        await self._call(chats, reply_to, now, spare_of)
        return WINDOW

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        await self._call(window, now)

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        await self._call(window, now)

    @property
    def shared(self) -> bool:
        return True

    async def write_frame(self, message_id: str, frame: StreamFrame, now: float) -> None:
        await self._call(message_id, frame, now)

    async def read_frame(self, stream_id: str, chat: str, now: float) -> StreamFrame | None:
        await self._call(stream_id, chat, now)
        return FRAME

    async def confirm_fetch(self, stream_id: str, now: float) -> None:
        await self._call(stream_id, now)

    async def is_fetched(self, message_id: str, now: float) -> bool:
        await self._call(message_id, now)
        return True

    async def close_stream(self, message_id: str, now: float) -> bool:
        await self._call(message_id, now)
        return False

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

    async def _call(self, *arguments: object) -> None:
        self.calls.append(arguments)
        self.clock.time += 0.25
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error


class Timed:
    """A TimedState, the state that it wraps, and the emitted events."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.wrapped = SlowState(clock)
        self.emitted: list[TelemetryEvent] = []
        self.state = TimedState(self.wrapped, self.emitted.append, clock.now)


@pytest.fixture
def timed() -> Timed:
    return Timed()


def test_all_operations_are_tested() -> None:
    assert set(OPERATIONS) == set(get_args(StateOperation))


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_is_timed_and_its_result_returned(timed: Timed, operation: StateOperation) -> None:
    call, result = OPERATIONS[operation]
    assert await call(timed.state) == result
    assert timed.emitted == [StateOperationEnded(operation=operation, seconds=0.25)]
    assert timed.state.up


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_arguments_of_an_operation_are_forwarded(operation: StateOperation) -> None:
    timed, direct = Timed(), Timed()
    call, _ = OPERATIONS[operation]
    await call(timed.state)
    await call(direct.wrapped)
    assert timed.wrapped.calls == direct.wrapped.calls


@pytest.mark.parametrize("reason", ["state", "state_full"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_failed_operation_is_emitted_with_its_reason(
    timed: Timed, operation: StateOperation, reason: str
) -> None:
    timed.wrapped.error = StateUnavailable(reason=reason)
    with pytest.raises(StateUnavailable):
        await OPERATIONS[operation][0](timed.state)
    (ended,) = timed.emitted
    assert isinstance(ended, StateOperationEnded)
    assert (ended.operation, ended.seconds, ended.failure) == (operation, 0.25, reason)
    assert not timed.state.up


async def test_a_state_is_down_until_an_admission_succeeds(timed: Timed) -> None:
    """Other operations may succeed while the state is full."""
    timed.wrapped.error = StateUnavailable(reason="state_full")
    with pytest.raises(StateUnavailable):
        await timed.state.admit(BATCH, 1_000.0)
    timed.wrapped.error = None
    await timed.state.finish("m0", 1_000.0)
    assert not timed.state.up
    await timed.state.admit(BATCH, 1_000.0)
    assert timed.state.up


async def test_an_admission_that_times_out_is_a_failure_of_the_state(timed: Timed) -> None:
    """A disk that hangs raises no error."""
    timed.wrapped.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await timed.state.admit(BATCH, 1_000.0)
    assert timed.emitted == [StateOperationEnded(operation="admit", seconds=0.25, failure="state")]
    assert not timed.state.up


async def test_another_operation_that_is_cancelled_is_not_a_failure_of_the_state(timed: Timed) -> None:
    """It is cancelled because its channel stops or the host cancels the reply."""
    timed.wrapped.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await timed.state.finish("m1", 1_000.0)
    assert timed.emitted == [StateOperationEnded(operation="finish", seconds=0.25)]
    assert timed.state.up


async def test_health_is_forwarded_and_sets_up(timed: Timed) -> None:
    timed.wrapped.trouble = "the disk is full"
    assert await timed.state.health() == "the disk is full"
    assert not timed.state.up
    timed.wrapped.trouble = None
    assert await timed.state.health() is None
    assert timed.state.up


async def test_window_counts_sharing_and_close_are_forwarded_without_an_event(timed: Timed) -> None:
    assert (timed.state.open_windows, timed.state.expired_windows, timed.state.shared) == (3, 5, True)
    await timed.state.close()
    assert timed.wrapped.closed
    assert timed.emitted == []
