"""The thread that owns the state file: what has gathered is committed together, and the callers are told together."""

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

    from maven_channel_wecom.state.store import StoredCallback

    Operation = Callable[[Entries], Any]

_T = TypeVar("_T")

COMMIT_DELAY_SECONDS: Final = 0.005
"""How long an operation that nobody outside waits for may wait for others to share a commit with. Lower: more commits
under a light load. Higher: a message that was dealt with is worked on again if the process dies meanwhile."""

_COMMIT_OPERATIONS: Final = 256
"""The most operations of one commit. Lower: more commits under a heavy load. Higher: the next ones wait longer."""


class _Order(NamedTuple):
    operation: Operation
    result: asyncio.Future[Any]
    undo: Callable[[Any], object] | None


class Writer:
    """Carries out operations in the order they were given, for callers in the loop that made it.

    While the thread commits one batch, the next one gathers in the loop. So each commit costs one hand-over to the
    thread and one back, however many operations share it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[Sequence[_Order] | None] = queue.SimpleQueue()
        self._gathered: deque[_Order] = deque()
        # Whether the thread has a batch, or is about to get one.
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[_Transactions] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._closing = False

    async def open(self) -> list[StoredCallback]:
        """Open the file and return what earlier processes left unfinished, oldest first.

        Raises:
            StateUnavailable: a sentence that says why not and what to do. Then there is nothing to close.
        """
        # A daemon, so that a process that forgets to close does end; what was promised is in the file already.
        threading.Thread(target=self._work, name="wecom-state", daemon=True).start()
        try:
            transactions = await self._opened
        except asyncio.CancelledError:
            self._batches.put(None)
            raise
        return transactions.left_unfinished

    @property
    def open_windows(self) -> int:
        """How many windows are open, as of the last commit."""
        return self._opened.result().open_windows

    @property
    def expired_windows(self) -> int:
        """How many windows have expired since the file was opened, as of the last commit."""
        return self._opened.result().expired_windows

    async def run(
        self,
        operation: Callable[[Entries], _T],
        *,
        undo: Callable[[_T], object] | None = None,
        may_wait: bool = False,
    ) -> _T:
        """Return what an operation returned, once it is committed.

        Args:
            operation: called in the thread; called again when the transaction it was in is rolled back.
            undo: called in the loop with what was committed for a caller who was cancelled meanwhile. An operation that
                has one is not carried out at all if its caller is cancelled early enough; one without always is.
            may_wait: whether it may wait for COMMIT_DELAY_SECONDS to share a commit.

        Raises:
            StateUnavailable: nothing of it was stored.
        """
        result = self.submit(operation, undo=undo, may_wait=may_wait)
        try:
            return await result
        except asyncio.CancelledError:
            # Cancelled after the result came, and before the caller got it.
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
        """Do the same for a caller that cannot await it now."""
        if self._closing:
            message = "the state is closed"
            raise StateClosed(message)
        result: asyncio.Future[_T] = self._loop.create_future()
        self._gathered.append(_Order(operation, result, undo))
        if self._busy:
            return result
        if not may_wait:
            self._start_soon()
        elif self._timer is None:
            self._timer = self._loop.call_later(COMMIT_DELAY_SECONDS, self._hand_over)
        return result

    def submit_first(self, operation: Operation) -> None:
        """Carry out an operation before all that have gathered, for nobody: it undoes something."""
        result = self._loop.create_future()
        result.add_done_callback(asyncio.Future.exception)
        self._gathered.appendleft(_Order(operation, result, None))
        if not self._busy:
            self._start_soon()

    async def close(self) -> None:
        """Carry out what has gathered and close the file."""
        if not self._closing:
            self._closing = True
            if not self._busy:
                self._hand_over()
        await asyncio.shield(self._closed)

    def _start_soon(self) -> None:
        self._busy = True
        self._stop_timer()
        # Not at once, so that whatever else this loop iteration brings shares the commit.
        self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what has gathered. It has nothing else to do."""
        self._stop_timer()
        batch: list[_Order] = []
        while self._gathered and len(batch) < _COMMIT_OPERATIONS:
            order = self._gathered.popleft()
            if not order.undo or not order.result.cancelled():
                batch.append(order)
        self._busy = bool(batch)
        if batch:
            self._batches.put(batch)
        elif self._closing:
            self._batches.put(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _work(self) -> None:
        try:
            transactions = _Transactions(self._path)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            self._call_loop(_settle, self._opened, error)
            return
        self._call_loop(_settle, self._opened, transactions)
        while batch := self._batches.get():
            outcomes = transactions.commit([order.operation for order in batch])
            self._call_loop(self._settle_batch, batch, outcomes)
        transactions.close()
        self._call_loop(_settle, self._closed, None)

    def _call_loop(self, function: Callable[..., object], *arguments: object) -> None:
        # In a loop that is closed nobody is waiting any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _settle_batch(self, batch: Sequence[_Order], outcomes: Sequence[Any]) -> None:
        for order, outcome in zip(batch, outcomes, strict=True):
            if not order.result.done():
                _settle(order.result, outcome)
            elif order.undo and not isinstance(outcome, StateUnavailable):
                order.undo(outcome)
        # Last, so that what is undone comes before whatever has gathered.
        self._hand_over()


class _Transactions:
    """Operations on one open file, some in one transaction. Made, used and closed by one thread.

    Raises:
        StateUnavailable: the file cannot be opened; a sentence that says why not and what to do.
    """

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path)
        self._entries = Entries(self._file.connection)
        self._damage: StateUnavailable | None = None
        self.open_windows = 0
        self.expired_windows = 0
        (left,) = self.commit([Entries.take_over])
        if isinstance(left, StateUnavailable):
            self.close()
            raise left
        self.left_unfinished: list[StoredCallback] = left

    def commit(self, operations: Sequence[Operation]) -> list[Any]:
        """Carry out operations and return what each returned, once all of it is on the disk.

        A StateUnavailable in place of a result says that nothing of this operation was stored. An operation that fails
        by itself does not take the others with it, nor does one for which there is no room; a disk that fails does.
        """
        try:
            return self._try_commit(operations)
        except Exception as error:  # noqa: BLE001 - each caller gets a StateUnavailable, whatever went wrong
            self._roll_back()
            failure = self._judge(error)
        if len(operations) > 1 and (failure is None or failure.reason == "state_full"):
            # An operation may be to blame, or may need no room: one that finishes a message even makes some.
            return [self.commit([operation])[0] for operation in operations]
        failure = failure or StateUnavailable("the state cannot keep an entry with such content")
        return [StateUnavailable(str(failure), reason=failure.reason) for _ in operations]

    def close(self) -> None:
        self._file.close()

    def _try_commit(self, operations: Sequence[Operation]) -> list[Any]:
        if self._damage:
            raise self._damage
        self._file.check_place()
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
        # After some errors SQLite has done so already.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        self._entries.rolled_back(self.open_windows, self.expired_windows)

    def _judge(self, error: Exception) -> StateUnavailable | None:
        if isinstance(error, StateUnavailable):
            return error
        failure = explain(error, self._file.path)
        if is_damage(error):
            self._damage = failure
        return failure


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
