"""A circuit breaker: after several consecutive failures no attempt is made for a while, then a single one decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURE_LIMIT: Final = 3
"""Consecutive failures that open the breaker. Lower: a single lost packet causes half a second of 503s. Higher: more
callers wait in vain."""

OPEN_SECONDS: Final = 0.5
"""Time for which the breaker stays open, in seconds. Lower: more attempts on a Redis that is down. Higher: callers are
refused for longer after Redis has recovered."""


class Breaker:
    """A circuit breaker with the usual three states.

    Closed: attempts are allowed. Open: none is allowed. Half open: one attempt is running, and its outcome closes or
    opens the breaker.

    Args:
        monotonic: monotonic clock, in seconds.
        limit: consecutive failures that open the breaker.
        seconds: time for which it stays open.
    """

    def __init__(
        self, monotonic: Callable[[], float], *, limit: int = FAILURE_LIMIT, seconds: float = OPEN_SECONDS
    ) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._seconds = seconds
        self._open_until: float | None = None
        self._half_open = False
        self.failures = 0
        """Number of consecutive failures."""

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        if self._open_until is None:
            return "closed"
        return "half_open" if self._half_open else "open"

    @property
    def refuses(self) -> bool:
        """Whether an attempt would be refused now."""
        return self._open_until is not None and (self._half_open or self._monotonic() < self._open_until)

    def enter(self) -> bool:
        """Begin an attempt, or return False if it is refused.

        The caller ends an attempt with `succeeded`, `failed` or `abandoned`.
        """
        if self.refuses:
            return False
        self._half_open = self._open_until is not None
        return True

    def succeeded(self) -> None:
        """Record that an attempt succeeded."""
        self.failures = 0
        self._open_until = None
        self._half_open = False

    def failed(self) -> None:
        """Record that an attempt failed."""
        self.failures += 1
        self._half_open = False
        if self.failures >= self._limit:
            self._open_until = self._monotonic() + self._seconds

    def abandoned(self) -> None:
        """Record that an attempt ended without an outcome, so that the next one is allowed instead."""
        self._half_open = False
