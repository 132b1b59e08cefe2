"""The backends the behavior suites run on: each a place that outlives the stores opened on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from maven_channel_wecom.state.opening import open_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from maven_channel_wecom.state.port import StateStore


class Backend(Protocol):
    """One place where state is kept during a test."""

    async def open(self) -> StateStore:
        """Open a store as a new process would. The one opened before is closed, or was left behind by a crash."""
        ...


class _Memory:
    async def open(self) -> StateStore:
        return await open_state("memory:", channel="wecom")


@contextlib.asynccontextmanager
async def memory(_folder: Path) -> AsyncIterator[Backend]:
    yield _Memory()


BACKENDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Backend]]] = {"memory": memory}

DURABLE: tuple[str, ...] = ()
"""Those whose entries outlive the process."""
