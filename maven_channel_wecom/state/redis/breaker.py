"""A circuit breaker: after some failures in a row nothing is tried for a while, then one attempt decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES: Final = 3
"""Failures in a row that open it. Lower: one lost packet costs half a second of 503. Higher: more wait in vain."""

OPEN_SECONDS: Final = 0.5
"""How long it stays open. It bounds how much later than the other side we are back."""


class Breaker:
    """Closed: attempts are made. Open: none is. Half open: one is under way, and its outcome closes or opens it.

    Args:
        monotonic: seconds that only run forward.
        limit: failures in a row that open it.
        seconds: how long it stays open.
    """

    def __init__(self, monotonic: Callable[[], float], *, limit: int = FAILURES, seconds: float = OPEN_SECONDS) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._seconds = seconds
        self._open_until: float | None = None
        self._trying = False
        self.failures = 0
        """How many attempts have failed in a row."""

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        if self._open_until is None:
            return "closed"
        return "half_open" if self._trying else "open"

    @property
    def refuses(self) -> bool:
        """Whether an attempt would not be let through now."""
        return self._open_until is not None and (self._trying or self._monotonic() < self._open_until)

    def enter(self) -> bool:
        """Ask to make an attempt, which ends with `succeeded`, `failed` or `abandoned`; False: do not."""
        if self.refuses:
            return False
        self._trying = self._open_until is not None
        return True

    def succeeded(self) -> None:
        """Record that an attempt succeeded."""
        self.failures = 0
        self._open_until = None
        self._trying = False

    def failed(self) -> None:
        """Record that an attempt failed."""
        self.failures += 1
        self._trying = False
        if self.failures >= self._limit:
            self._open_until = self._monotonic() + self._seconds

    def abandoned(self) -> None:
        """Record that an attempt ended without an outcome: the next one is let through in its place."""
        self._trying = False
