"""When nothing is tried any more, and how that ends."""

from __future__ import annotations

import pytest

from maven_channel_wecom.state.redis.breaker import Breaker


class ManualClock:
    """Runs only when told to."""

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
    """Read it anew each time, which mypy does not expect of a property."""
    return breaker.state


def refuses(breaker: Breaker) -> bool:
    return breaker.refuses


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert state(breaker) == "closed"
    assert not refuses(breaker)
    fail(breaker, 1)
    assert state(breaker) == "open"
    assert refuses(breaker)
    assert not breaker.enter()


def test_a_success_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.enter()
    breaker.succeeded()
    fail(breaker, 2)
    assert state(breaker) == "closed"


def test_an_open_breaker_lets_one_attempt_through_after_a_while(breaker: Breaker, clock: ManualClock) -> None:
    """All others are refused until its outcome is known."""
    fail(breaker, 3)
    clock.seconds += 0.49
    assert refuses(breaker)
    clock.seconds += 0.01
    assert not refuses(breaker)
    assert breaker.enter()
    assert state(breaker) == "half_open"
    assert refuses(breaker)
    assert not breaker.enter()


def test_a_success_closes_an_open_breaker(breaker: Breaker, clock: ManualClock) -> None:
    """It takes as many failures as before to open it again."""
    fail(breaker, 3)
    clock.seconds += 0.5
    assert breaker.enter()
    breaker.succeeded()
    assert state(breaker) == "closed"
    fail(breaker, 2)
    assert state(breaker) == "closed"


def test_a_failure_opens_it_for_as_long_again(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    for _ in range(5):
        clock.seconds += 0.5
        fail(breaker, 1)
        assert state(breaker) == "open"
        clock.seconds += 0.49
        assert refuses(breaker)
        clock.seconds += 0.01


def test_an_attempt_without_an_outcome_makes_way_for_the_next(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.seconds += 0.5
    assert breaker.enter()
    breaker.abandoned()
    assert state(breaker) == "open"
    assert breaker.enter()
    breaker.succeeded()
    assert state(breaker) == "closed"
