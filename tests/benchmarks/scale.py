"""How much is measured: the long form by default, a few of everything in the suite."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - msgspec looks at it

import msgspec


def _silent(_: str) -> None:
    pass


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and times of a measurement. `tell` is told what goes on."""

    messages: int = 10_000
    """In one round of one server."""
    rounds: int = 7
    entries: int = 1_000_000
    """Live at once in the state."""
    seconds: float = 30.0
    """How long a steady load lasts."""
    variants: bool = True
    """Also what only explains the figures: other settings, the event loop uvloop."""
    picture_bytes: int = 10 * 1024 * 1024
    tell: Callable[[str], None] = _silent
