"""Retries of an operation while the state is unavailable."""

from __future__ import annotations

import pytest

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.state.store import STATE_RETRY_SECONDS, retry_while_unavailable
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
    assert await retry_while_unavailable(operation, clock) == "done"
    assert operation.calls == 1


async def test_a_failing_operation_succeeds_within_half_a_second_of_recovery() -> None:
    clock = FakeClock()
    recovered_at = clock.now() + 100
    assert await retry_while_unavailable(FailingOperation(clock, until=recovered_at), clock) == "done"
    assert recovered_at <= clock.now() <= recovered_at + 0.5


async def test_a_state_that_stays_unavailable_is_an_error_after_the_retry_limit() -> None:
    clock = FakeClock()
    began = clock.now()
    operation = FailingOperation(clock, until=began + 2 * STATE_RETRY_SECONDS)
    with pytest.raises(StateUnavailable):
        await retry_while_unavailable(operation, clock)
    assert STATE_RETRY_SECONDS - 1 <= clock.now() - began <= STATE_RETRY_SECONDS


async def test_an_operation_on_a_closed_state_is_not_retried() -> None:
    clock = FakeClock()

    async def operation() -> None:
        raise StateClosed

    with pytest.raises(StateClosed):
        await retry_while_unavailable(operation, clock)
    assert clock.slept == []


async def test_an_operation_with_another_error_is_not_retried() -> None:
    calls = 0

    async def operation() -> None:
        nonlocal calls
        calls += 1
        raise KeyError

    with pytest.raises(KeyError):
        await retry_while_unavailable(operation, FakeClock())
    assert calls == 1
