"""A listener that records every event."""

from __future__ import annotations

from typing import Any, TypeVar

_E = TypeVar("_E")


class Recorder:
    """Records the events that the channel emits, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: object) -> None:
        self.events.append(event)

    def of(self, kind: type[_E]) -> list[_E]:
        """Return the events of one class."""
        return [event for event in self.events if isinstance(event, kind)]
