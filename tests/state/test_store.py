"""How long a step waits for a state that is away."""

from __future__ import annotations

import pytest

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.state.store import STATE_RETRY_SECONDS, retry_while_unavailable
from tests.fakes.clock import FakeClock


class Step:
    """Fails until a time."""

    def __init__(self, clock: FakeClock, *, until: float) -> None:
        self._clock = clock
        self._until = until
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self._clock.now() < self._until:
            message = "away"
            raise StateUnavailable(message)
        return "done"


async def test_a_step_that_succeeds_is_called_once() -> None:
    clock = FakeClock()
    step = Step(clock, until=clock.now())
    assert await retry_while_unavailable(step, clock) == "done"
    assert step.calls == 1


async def test_a_step_is_repeated_until_the_state_is_back() -> None:
    """At most half a second later."""
    clock = FakeClock()
    back = clock.now() + 100
    assert await retry_while_unavailable(Step(clock, until=back), clock) == "done"
    assert back <= clock.now() <= back + 0.5


async def test_a_state_that_stays_away_is_an_error_after_a_limit() -> None:
    clock = FakeClock()
    began = clock.now()
    step = Step(clock, until=began + 2 * STATE_RETRY_SECONDS)
    with pytest.raises(StateUnavailable):
        await retry_while_unavailable(step, clock)
    assert STATE_RETRY_SECONDS - 1 <= clock.now() - began <= STATE_RETRY_SECONDS


async def test_a_closed_state_is_not_waited_for() -> None:
    clock = FakeClock()

    async def step() -> None:
        raise StateClosed

    with pytest.raises(StateClosed):
        await retry_while_unavailable(step, clock)
    assert clock.slept == []


async def test_another_error_is_not_repeated() -> None:
    calls = 0

    async def step() -> None:
        nonlocal calls
        calls += 1
        raise KeyError

    with pytest.raises(KeyError):
        await retry_while_unavailable(step, FakeClock())
    assert calls == 1
