"""The size of a benchmark: the long form by default, and small numbers in the test suite."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - msgspec evaluates the annotations

import msgspec


def _ignore(_: str) -> None:
    pass


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and durations of a benchmark. `report` is called with progress messages."""

    messages: int = 10_000
    """Messages in one round of one server."""
    rounds: int = 7
    entries: int = 1_000_000
    """Number of live entries in the state."""
    seconds: float = 30.0
    """Duration of a steady load."""
    streams_per_second: int = 300
    """Messages per second whose answers are streamed."""
    turn_seconds: float = 3.0
    """Duration of the turn that writes such an answer."""
    variants: bool = True
    """Whether to measure other settings and event loops too, which help to explain the figures."""
    picture_bytes: int = 10 * 1024 * 1024
    report: Callable[[str], None] = _ignore
