"""The SQLite backend: state in one local file that outlives the process and is owned by one process at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.writer import Writer
from maven_channel_wecom.state.store import StateStore, StoredCallback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.store import Admission

HEALTH_PROBE_SECONDS: Final = 0.8
"""Maximum time that `health` waits for the disk, in seconds. Health checks often time out after a second. Lower: a slow
disk is reported as failing. Higher: a health check times out before it receives the reason."""


class SqliteStateStore(StateStore):
    """A StateStore in a file. A method returns once its change is on the disk; concurrent calls share a commit.

    Args:
        writer: the writer, already opened.
        unfinished: callbacks that earlier processes left in progress, oldest first.
        health_probe_seconds: maximum time that `health` waits for the disk.
    """

    def __init__(
        self,
        writer: Writer,
        unfinished: list[StoredCallback],
        *,
        health_probe_seconds: float = HEALTH_PROBE_SECONDS,
    ) -> None:
        self._writer = writer
        self._without_owner = unfinished
        # Whether the times in the file were compared with the clock.
        self._checked_times = False
        self._health_probe_seconds = health_probe_seconds
        self._probe: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, path: str, *, clock: Clock | None = None) -> Self:
        """Open the store in a file, which is created if it does not exist.

        If `clock` was adjusted since the file was last open, the times in the file are adjusted too.

        Raises:
            StateUnavailable: the file cannot be used; the message says why and what to do.
        """
        writer = Writer(Path(path), clock=clock)
        return cls(writer, await writer.open())

    async def admit(self, batch: Sequence[Admission], now: float) -> list[bool]:
        def undo(results: list[bool]) -> None:
            # Not released: a repeat may already have been acknowledged as a duplicate.
            self._without_owner += [
                admission.callback for admission, is_new in zip(batch, results, strict=True) if is_new
            ]

        return await self._writer.run(lambda entries: entries.admit(batch, now), undo=undo)

    async def release(self, message_id: str, now: float) -> bool:
        released = await self._writer.run(lambda entries: entries.release(message_id, now))
        if isinstance(released, StoredCallback):
            self._without_owner.append(released)
        return released is not False

    async def finish(self, message_id: str, now: float) -> None:
        await self._writer.run(lambda entries: entries.finish(message_id, now), may_wait=True)

    async def take_over(
        self,
        now: float,
        *,
        limit: int = 1_000,
    ) -> list[StoredCallback]:
        if not self._checked_times:
            ahead = await self._writer.run(lambda entries: entries.shift_into_past(now))
            self._checked_times = True
            self._without_owner = [
                msgspec.structs.replace(callback, received_at=callback.received_at - ahead)
                for callback in self._without_owner
            ]
        taken, self._without_owner = self._without_owner[:limit], self._without_owner[limit:]
        return taken

    async def claim_window(
        self, chats: Sequence[str], reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        def undo(window: ReplyWindow | None) -> None:
            # If this fails, the window stays claimed, as after a crash.
            if window:
                self._writer.submit_next(lambda entries: entries.restore_window(window, now))

        return await self._writer.run(lambda entries: entries.claim_window(chats, reply_to, now, spare_of), undo=undo)

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        await self._writer.run(lambda entries: entries.spend_window(window, now))

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        await self._writer.run(lambda entries: entries.restore_window(window, now))

    @property
    def open_windows(self) -> int:
        return self._writer.open_windows

    @property
    def expired_windows(self) -> int:
        return self._writer.expired_windows

    async def health(self) -> str | None:
        # Concurrent health checks share one write.
        if self._probe is None or self._probe.done():
            try:
                self._probe = self._writer.submit(lambda entries: entries.probe())
            except StateUnavailable as unavailable:
                return str(unavailable)
            self._probe.add_done_callback(asyncio.Future.exception)
        done, _ = await asyncio.wait([self._probe], timeout=self._health_probe_seconds)
        if not done:
            return "the state file cannot be written in time: check its disk"
        failure = self._probe.exception()
        return str(failure) if failure else None

    async def close(self) -> None:
        await self._writer.close()
