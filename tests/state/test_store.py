"""Retries of an operation while the state is unavailable."""

from __future__ import annotations

import pytest

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.state.store import LONGEST_DELAY_SECONDS, retry_while_unavailable
from tests.fakes.clock import FakeClock


class FailingOperation:
    """An operation that fails until a given time."""

    def __init__(self, clock: FakeClock, *, until: float) -> None:
        self._clock = clock
        self._until = until
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self._clock.now() < self._until:
            message = "unavailable"
            raise StateUnavailable(message)
        return "done"


async def test_an_operation_that_succeeds_is_called_once() -> None:
    clock = FakeClock()
    operation = FailingOperation(clock, until=clock.now())
    assert await retry_while_unavailable(operation, clock, until=0.0) == "done"
    assert operation.calls == 1


async def test_a_failing_operation_succeeds_shortly_after_recovery() -> None:
    clock = FakeClock()
    recovered_at = clock.now() + 100
    operation = FailingOperation(clock, until=recovered_at)
    assert await retry_while_unavailable(operation, clock, until=recovered_at + 100) == "done"
    assert recovered_at <= clock.now() <= recovered_at + LONGEST_DELAY_SECONDS


async def test_an_operation_is_called_for_the_last_time_at_the_end() -> None:
    clock = FakeClock()
    end = clock.now() + 100.5
    assert await retry_while_unavailable(FailingOperation(clock, until=end), clock, until=end) == "done"
    with pytest.raises(StateUnavailable):
        await retry_while_unavailable(FailingOperation(clock, until=end + 101), clock, until=end + 100)
    assert clock.now() == end + 100


async def test_an_operation_on_a_closed_state_is_not_retried() -> None:
    clock = FakeClock()

    async def operation() -> None:
        raise StateClosed

    with pytest.raises(StateClosed):
        await retry_while_unavailable(operation, clock, until=clock.now() + 100)
    assert clock.slept == []


async def test_an_operation_with_another_error_is_not_retried() -> None:
    calls = 0

    async def operation() -> None:
        nonlocal calls
        calls += 1
        raise KeyError

    with pytest.raises(KeyError):
        await retry_while_unavailable(operation, FakeClock(), until=2_000_000_000.0)
    assert calls == 1
