"""The thread behind the SQLite state, and callers who leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.state.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class LeavingAtTheLastMoment(Writer):
    """Cancels its caller after the result has come and before the caller has it."""

    caller: asyncio.Task[Any] | None = None

    def submit(
        self, operation: Callable[[], Any], abandoned: Callable[[Any], object] | None = None, *, hurry: bool = True
    ) -> asyncio.Future[Any]:
        result = super().submit(operation, abandoned, hurry=hurry)
        caller = self.caller
        assert caller is not None
        # Called before the caller is woken, as it was registered first.
        result.add_done_callback(lambda _: caller.cancel())
        return result


async def test_what_was_committed_for_a_caller_who_leaves_at_that_moment_is_not_forgotten(tmp_path: Path) -> None:
    """A limit may run out in the same instant in which the disk answers."""
    writer = LeavingAtTheLastMoment(tmp_path / "state.db")
    await writer.open()
    left_behind: list[str] = []
    writer.caller = asyncio.create_task(writer.run(lambda: "kept", left_behind.append))
    with pytest.raises(asyncio.CancelledError):
        await writer.caller
    await writer.close()
    assert left_behind == ["kept"]
