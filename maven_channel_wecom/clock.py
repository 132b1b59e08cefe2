"""Now and sleep."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from, in seconds. A test owns its own."""

    def now(self) -> float:
        """Seconds since the epoch, running steadily: a step of the system's clock does not move it."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch as the system believes now: for comparing with other machines' clocks only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock. Deadlines survive clock steps, and are comparable after a restart to within the step."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """See Clock."""
        return self._offset + time.monotonic()

    def wall(self) -> float:
        """See Clock."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(seconds)
