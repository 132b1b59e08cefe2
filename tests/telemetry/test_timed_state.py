"""What the steps of a state leave in the metrics."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.later import Later, settled
from maven_channel_wecom.measured_state import MeasuredState
from maven_channel_wecom.metrics.labels import STATE_OPERATIONS
from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.memory import MemoryStateStore
from maven_channel_wecom.state.port import KeptCallback
from tests.fakes.clock import FakeClock
from tests.fakes.host import channel_metrics

CALLBACK = KeptCallback("m1", "alice", 1_000.0, b"{}")
WINDOW = ReplyWindow("m1", "alice", "alice", "https://example.invalid", 1_000.0, 4_600.0)


class Moody(MemoryStateStore):
    """A state that takes waiting, takes its time, or refuses, or does not answer."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.takes_seconds = 0.0
        self.error: StateUnavailable | None = None
        self.trouble: str | None = None
        self.hangs = False
        self.waits = False

    def admit(  # type: ignore[override]  # unlike the one in memory
        self, callback: KeptCallback, window: ReplyWindow | None, now: float
    ) -> bool | Later[bool]:
        if self.waits:
            return Later(asyncio.ensure_future(self._admit_later(callback, window, now)))
        if self.error:
            raise self.error
        return super().admit(callback, window, now)

    async def _admit_later(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> bool:
        self.clock.time += self.takes_seconds
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return super().admit(callback, window, now)

    async def health(self) -> str | None:
        return self.trouble


class Bench:
    """A measured state and what it shows."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.registry = CollectorRegistry()
        metrics = channel_metrics(self.registry)
        self.moody = Moody(clock)
        self.state = MeasuredState(self.moody, metrics, clock)
        metrics.watch(state_up=lambda: self.state.up)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"maven_wecom_state_{name}", {"channel": "wecom", **labels})

    def is_up(self) -> bool:
        return self.value("up") == 1


async def test_every_step_is_timed_under_its_name() -> None:
    """And gives back what the state behind it gave."""
    bench = Bench()
    state = bench.state
    bench.moody.waits = True
    bench.moody.takes_seconds = 0.25
    assert await settled(state.admit(CALLBACK, WINDOW, 1_000.0))
    bench.moody.waits = False
    assert state.admit(CALLBACK, WINDOW, 1_000.0) is False
    assert state.open_windows == 1
    assert await state.claim_window("alice", "m1", 1_001.0) == WINDOW
    await state.restore_window(WINDOW, 1_001.0)
    await state.spend_window(WINDOW, 1_001.0)
    assert await state.unfinished(1_001.0) == []
    await state.finish("m1", 1_001.0)
    await state.release("m1", 1_001.0)
    assert {step: bench.value("seconds_count", operation=step) for step in STATE_OPERATIONS} == {
        **dict.fromkeys(STATE_OPERATIONS, 1),
        "admit": 2,
    }
    assert bench.value("seconds_sum", operation="admit") == pytest.approx(0.25)
    await state.close()


@pytest.mark.parametrize("waits", [False, True])
async def test_a_refused_step_is_counted_with_its_reason(*, waits: bool) -> None:
    """The state is down until an admission succeeds: other steps may succeed while there is no room."""
    bench = Bench()
    bench.moody.waits = waits
    bench.moody.error = StateUnavailable(reason="state_full")
    with pytest.raises(StateUnavailable):
        await settled(bench.state.admit(CALLBACK, None, 1_000.0))
    assert bench.value("failures_total", operation="admit", reason="state_full") == 1
    assert not bench.is_up()
    await bench.state.finish("m0", 1_000.0)
    assert not bench.is_up()
    bench.moody.error = None
    await settled(bench.state.admit(CALLBACK, None, 1_000.0))
    assert bench.is_up()
    assert bench.value("seconds_count", operation="admit") == 2


async def test_an_admission_that_was_given_up_is_a_failure_of_the_state() -> None:
    """A disk that hangs refuses nothing, and must not look well."""
    bench = Bench()
    bench.moody.waits = bench.moody.hangs = True
    admission = bench.state.admit(CALLBACK, None, 1_000.0)
    assert isinstance(admission, Later)
    admission.done.cancel()
    with pytest.raises(TimeoutError):
        await admission.wait()
    assert bench.value("failures_total", operation="admit", reason="state") == 1
    assert not bench.is_up()


async def test_health_tells_what_the_state_tells() -> None:
    """And remembers it."""
    bench = Bench()
    bench.moody.trouble = "the disk is full"
    assert await bench.state.health() == "the disk is full"
    assert not bench.is_up()
    bench.moody.trouble = None
    assert await bench.state.health() is None
    assert bench.is_up()
