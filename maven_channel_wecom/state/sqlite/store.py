"""State in one SQLite file: survives the process, for one process at a time on one machine."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.later import Later
from maven_channel_wecom.state.sqlite.writer import Writer

if TYPE_CHECKING:
    from maven_channel_wecom.policy.reply_window import ReplyWindow
    from maven_channel_wecom.state.port import KeptCallback
    from maven_channel_wecom.state.sqlite.transactions import Transactions

PATIENCE_SECONDS: Final = 0.8
"""Those who ask for the health of a program often give it a second. Lower: a slow disk counts as failing."""


class SqliteStateStore:
    """A StateStore in a file. A method returns when what it did is on the disk; those of one moment share a commit."""

    def __init__(self, writer: Writer, transactions: Transactions, *, patience_seconds: float) -> None:
        self._writer = writer
        self._transactions = transactions
        self._entries = transactions.entries
        self._left = transactions.left
        self._patience_seconds = patience_seconds
        self._probe: Future[None] | None = None

    @classmethod
    async def open(cls, path: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Self:
        """Open the store in a file, made when there is none.

        Args:
            path: the file.
            patience_seconds: how long `health` waits for the disk.

        Raises:
            StateUnavailable: a sentence that says why not and what to do.
        """
        writer = Writer(Path(path))
        return cls(writer, await writer.open(), patience_seconds=patience_seconds)

    def admit(self, callback: KeptCallback, window: ReplyWindow | None, now: float) -> Later[bool]:
        """See StateStore."""

        def abandoned(new: bool) -> None:  # noqa: FBT001 - what admit returned
            # Not released: a repeat may have been told already that its message is in hand.
            if new:
                self._left.append(callback)

        return Later(self._writer.submit(partial(self._entries.admit, callback, window, now), abandoned))

    async def release(self, message_id: str, now: float) -> None:
        """See StateStore."""
        await self._writer.run(partial(self._entries.release, message_id, now))

    async def finish(self, message_id: str, now: float) -> None:
        """See StateStore."""
        await self._writer.run(partial(self._entries.finish, message_id, now), hurry=False)

    async def unfinished(
        self,
        now: float,  # noqa: ARG002 - nobody dies while the file is open
        *,
        most: int = 1_000,
    ) -> list[KeptCallback]:
        """See StateStore. What earlier processes left was taken over when the file was opened."""
        left, self._left = self._left[:most], self._left[most:]
        return left

    async def claim_window(
        self, chat_id: str, reply_to: str | None, now: float, *, spare_of: str | None = None
    ) -> ReplyWindow | None:
        """See StateStore. For a caller who is canceled meanwhile it is opened again."""

        def abandoned(window: ReplyWindow | None) -> None:
            if window:
                self._restore_later(window, now)

        return await self._writer.run(partial(self._entries.claim_window, chat_id, reply_to, now, spare_of), abandoned)

    async def spend_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        await self._writer.run(partial(self._entries.spend_window, window, now))

    async def restore_window(self, window: ReplyWindow, now: float) -> None:
        """See StateStore."""
        await self._writer.run(partial(self._entries.restore_window, window, now))

    @property
    def open_windows(self) -> int:
        """See StateStore."""
        return self._transactions.open_windows

    @property
    def expired_windows(self) -> int:
        """See StateStore."""
        return self._transactions.expired_windows

    async def health(self) -> str | None:
        """See StateStore. It writes, so it tells what an admission would meet; one write for all who ask meanwhile."""
        if self._probe is None or self._probe.done():
            try:
                self._probe = self._writer.submit(self._entries.probe)
            except StateUnavailable as unavailable:
                return str(unavailable)
            self._probe.add_done_callback(Future.exception)
        done, _ = await asyncio.wait([self._probe], timeout=self._patience_seconds)
        if not done:
            return "the state file is not written in time: check its disk"
        failure = self._probe.exception()
        return str(failure) if failure else None

    async def close(self) -> None:
        """See StateStore. What is queued is carried out before."""
        await self._writer.close()

    def _restore_later(self, window: ReplyWindow, now: float) -> None:
        # Closed meanwhile, or failing: then it stays claimed, as by a process that died.
        with contextlib.suppress(StateUnavailable):
            restored = self._writer.submit(partial(self._entries.restore_window, window, now))
            restored.add_done_callback(lambda done: done.exception())
