"""The writer of the state file: a thread that commits operations of the event loop in batches."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from maven_channel_wecom.errors import StateClosed, StateUnavailable
from maven_channel_wecom.state.sqlite.entries import Entries
from maven_channel_wecom.state.sqlite.file import StateFile, explain, is_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maven_channel_wecom.clock import Clock
    from maven_channel_wecom.state.store import StoredCallback

    Operation = Callable[[Entries], Any]

_T = TypeVar("_T")

COMMIT_DELAY_SECONDS: Final = 0.005
"""Maximum time that a deferrable operation waits for others to share its commit, in seconds. Lower: more commits under
a light load. Higher: a finished message is more likely to be worked on again after a crash."""

_COMMIT_OPERATIONS: Final = 256
"""Maximum number of operations in one commit. Lower: more commits under a heavy load. Higher: queued operations wait
longer."""


class _QueuedOperation(NamedTuple):
    operation: Operation
    result: asyncio.Future[Any]
    undo: Callable[[Any], object] | None


class Writer:
    """Runs operations in the order of their submission, for callers in the event loop in which it was created.

    While the thread commits one batch, the event loop queues the next one. So a commit costs two switches between the
    threads, however many operations share it.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[Sequence[_QueuedOperation] | None] = queue.SimpleQueue()
        self._queue: deque[_QueuedOperation] = deque()
        # Whether a batch is being committed or is scheduled.
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[_Transactions] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._closing = False

    async def open(self) -> list[StoredCallback]:
        """Open the file and return the callbacks that earlier processes left in progress, oldest first.

        Raises:
            StateUnavailable: the file cannot be used; the message says why and what to do. Nothing has to be closed.
        """
        # A daemon thread, so that a process ends even if it does not close the store: confirmed operations are on disk.
        threading.Thread(target=self._run_thread, name="wecom-state", daemon=True).start()
        try:
            transactions = await self._opened
        except asyncio.CancelledError:
            self._batches.put(None)
            raise
        return transactions.unfinished

    @property
    def open_windows(self) -> int:
        """Number of open windows as of the last commit."""
        return self._opened.result().open_windows

    @property
    def expired_windows(self) -> int:
        """Number of windows that have expired since the file was opened, as of the last commit."""
        return self._opened.result().expired_windows

    async def run(
        self,
        operation: Callable[[Entries], _T],
        *,
        undo: Callable[[_T], object] | None = None,
        may_wait: bool = False,
    ) -> _T:
        """Run an operation and return its result once it is committed.

        Args:
            operation: called in the thread, and called again if its transaction was rolled back because of another
                operation.
            undo: called in the event loop with the result if the operation was committed although its caller was
                cancelled. An operation with `undo` is skipped if the caller is cancelled before it starts; one without
                is always run.
            may_wait: whether the operation may be delayed by COMMIT_DELAY_SECONDS to share a commit.

        Raises:
            StateUnavailable: nothing of this operation was stored.
        """
        result = self.submit(operation, undo=undo, may_wait=may_wait)
        try:
            return await result
        except asyncio.CancelledError:
            # Cancelled after the result was set, and before the caller resumed.
            if undo and result.done() and not result.cancelled() and result.exception() is None:
                undo(result.result())
            raise

    def submit(
        self,
        operation: Callable[[Entries], _T],
        *,
        undo: Callable[[_T], object] | None = None,
        may_wait: bool = False,
    ) -> asyncio.Future[_T]:
        """Queue an operation as `run` does, and return the future of its result."""
        if self._closing:
            message = "the state is closed"
            raise StateClosed(message)
        result: asyncio.Future[_T] = self._loop.create_future()
        self._queue.append(_QueuedOperation(operation, result, undo))
        if self._busy:
            return result
        if not may_wait:
            self._schedule_batch()
        elif self._timer is None:
            self._timer = self._loop.call_later(COMMIT_DELAY_SECONDS, self._start_batch)
        return result

    def submit_next(self, operation: Operation) -> None:
        """Queue an operation ahead of all others and ignore its result. It undoes an earlier one."""
        result = self._loop.create_future()
        result.add_done_callback(asyncio.Future.exception)
        self._queue.appendleft(_QueuedOperation(operation, result, None))
        if not self._busy:
            self._schedule_batch()

    async def close(self) -> None:
        """Run all queued operations and close the file."""
        if not self._closing:
            self._closing = True
            if not self._busy:
                self._start_batch()
        await asyncio.shield(self._closed)

    def _schedule_batch(self) -> None:
        self._busy = True
        self._stop_timer()
        # Not immediately, so that all operations of this loop iteration share the commit.
        self._loop.call_soon(self._start_batch)

    def _start_batch(self) -> None:
        """Pass the queued operations to the thread, which must be idle."""
        self._stop_timer()
        batch: list[_QueuedOperation] = []
        while self._queue and len(batch) < _COMMIT_OPERATIONS:
            queued = self._queue.popleft()
            if not queued.undo or not queued.result.cancelled():
                batch.append(queued)
        self._busy = bool(batch)
        if batch:
            self._batches.put(batch)
        elif self._closing:
            self._batches.put(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_thread(self) -> None:
        try:
            transactions = _Transactions(self._path, self._clock)
        except Exception as error:  # noqa: BLE001 - it is raised in `open`
            self._call_loop(_resolve, self._opened, error)
            return
        self._call_loop(_resolve, self._opened, transactions)
        while batch := self._batches.get():
            outcomes = transactions.commit([queued.operation for queued in batch])
            self._call_loop(self._resolve_batch, batch, outcomes)
        transactions.close()
        self._call_loop(_resolve, self._closed, None)

    def _call_loop(self, function: Callable[..., object], *arguments: object) -> None:
        # The event loop may be closed, and then has no callers.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _resolve_batch(self, batch: Sequence[_QueuedOperation], outcomes: Sequence[Any]) -> None:
        for queued, outcome in zip(batch, outcomes, strict=True):
            if not queued.result.done():
                _resolve(queued.result, outcome)
            elif queued.undo and not isinstance(outcome, StateUnavailable):
                queued.undo(outcome)
        # Last, so that undo operations run before those already queued.
        self._start_batch()


class _Transactions:
    """Transactions on one open file. An instance is created, used and closed by the same thread.

    Raises:
        StateUnavailable: the file cannot be used; the message says why and what to do.
    """

    def __init__(self, path: Path, clock: Clock | None) -> None:
        self._file = StateFile(path)
        self._entries = Entries(self._file.connection)
        self._damage: StateUnavailable | None = None
        self.open_windows = 0
        self.expired_windows = 0
        offset = clock.offset() if clock else None
        adjustment = self._file.clock_adjustment(offset)
        (unfinished,) = self.commit([lambda entries: entries.take_over(adjustment)])
        if isinstance(unfinished, StateUnavailable):
            self.close()
            raise unfinished
        # Only now, so that after a failure the next process finds the same adjustment.
        self._file.record_clock(offset)
        self.unfinished: list[StoredCallback] = unfinished

    def commit(self, operations: Sequence[Operation]) -> list[Any]:
        """Run operations, in one transaction if possible, and return their results once they are on the disk.

        A StateUnavailable in place of a result means that nothing of this operation was stored. An operation that fails
        by itself, or for which there is no space, does not affect the others. A failing disk fails all of them.
        """
        try:
            return self._try_commit(operations)
        except Exception as error:  # noqa: BLE001 - each caller gets a StateUnavailable, whatever went wrong
            self._roll_back()
            failure = self._classify(error)
        if len(operations) > 1 and (failure is None or failure.reason == "state_full"):
            # One operation may be at fault, and others may need no space: finishing a message even frees some.
            return [self.commit([operation])[0] for operation in operations]
        failure = failure or StateUnavailable("the state cannot store an entry with this content")
        return [StateUnavailable(str(failure), reason=failure.reason) for _ in operations]

    def close(self) -> None:
        self._file.close()

    def _try_commit(self, operations: Sequence[Operation]) -> list[Any]:
        if self._damage:
            raise self._damage
        self._file.check_identity()
        entries, execute = self._entries, self._file.connection.execute
        execute("BEGIN IMMEDIATE")
        results = [operation(entries) for operation in operations]
        entries.expire()
        execute("COMMIT")
        self.open_windows = entries.open_windows
        self.expired_windows = entries.expired_windows
        return results

    def _roll_back(self) -> None:
        connection = self._file.connection
        # After some errors SQLite has already rolled back.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        self._entries.after_rollback(self.open_windows, self.expired_windows)

    def _classify(self, error: Exception) -> StateUnavailable | None:
        if isinstance(error, StateUnavailable):
            return error
        failure = explain(error, self._file.path)
        if is_damage(error):
            self._damage = failure
        return failure


def _resolve(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
