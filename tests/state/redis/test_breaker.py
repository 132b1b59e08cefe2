"""The circuit breaker: when it opens, and how it closes again."""

from __future__ import annotations

import pytest

from maven_channel_wecom.state.redis.breaker import Breaker


class ManualClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(clock, limit=3, seconds=0.5)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.enter()
        breaker.failed()


def state(breaker: Breaker) -> str:
    """Return the state through a function, because mypy assumes that a property keeps its value."""
    return breaker.state


def refuses(breaker: Breaker) -> bool:
    return breaker.refuses


def test_the_breaker_opens_after_consecutive_failures(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert state(breaker) == "closed"
    assert not refuses(breaker)
    fail(breaker, 1)
    assert state(breaker) == "open"
    assert refuses(breaker)
    assert not breaker.enter()


def test_a_success_resets_the_number_of_failures(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.enter()
    breaker.succeeded()
    fail(breaker, 2)
    assert state(breaker) == "closed"


def test_an_open_breaker_allows_a_single_attempt_after_some_time(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.seconds += 0.49
    assert refuses(breaker)
    clock.seconds += 0.01
    assert not refuses(breaker)
    assert breaker.enter()
    assert state(breaker) == "half_open"
    assert refuses(breaker)
    assert not breaker.enter()


def test_a_success_closes_an_open_breaker_and_resets_the_number_of_failures(
    breaker: Breaker, clock: ManualClock
) -> None:
    fail(breaker, 3)
    clock.seconds += 0.5
    assert breaker.enter()
    breaker.succeeded()
    assert state(breaker) == "closed"
    fail(breaker, 2)
    assert state(breaker) == "closed"


def test_a_failed_attempt_keeps_the_breaker_open_for_the_same_time_again(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    for _ in range(5):
        clock.seconds += 0.5
        fail(breaker, 1)
        assert state(breaker) == "open"
        clock.seconds += 0.49
        assert refuses(breaker)
        clock.seconds += 0.01


def test_after_an_abandoned_attempt_the_next_one_is_allowed(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.seconds += 0.5
    assert breaker.enter()
    breaker.abandoned()
    assert state(breaker) == "open"
    assert breaker.enter()
    breaker.succeeded()
    assert state(breaker) == "closed"
