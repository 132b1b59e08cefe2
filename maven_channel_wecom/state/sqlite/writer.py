"""The thread behind the SQLite state: commits together what has gathered, and the callers are told together."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.sqlite.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_T = TypeVar("_T")

# Bounds how long one batch keeps those who come after it waiting; more do not make a commit much cheaper.
_BATCH_ORDERS: Final = 256

_PATIENCE_SECONDS: Final = 0.005
"""How long an order without hurry waits for others to share a commit with. Lower: more commits under a light load."""


class _Order(NamedTuple):
    operation: Callable[[], Any]
    result: asyncio.Future[Any]
    abandoned: Callable[[Any], object] | None


class Writer:
    """Carries out operations in the order they were given, for callers in the loop that made it.

    While the thread commits one batch the next one gathers in the loop, so each commit costs one hand-over to the
    thread and one back, however many share it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[Sequence[_Order] | None] = queue.SimpleQueue()
        self._gathered: list[_Order] = []
        # Whether the thread has a batch, or is about to get one.
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[Transactions] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._closing = False

    async def open(self) -> Transactions:
        """Open the file. Raises StateUnavailable, and then there is nothing to close."""
        # A daemon, so that a process that forgets to close does end; what was promised is in the file already.
        threading.Thread(target=self._work, name="wecom-state", daemon=True).start()
        try:
            return await self._opened
        except asyncio.CancelledError:
            self._batches.put(None)
            raise

    async def run(
        self, operation: Callable[[], _T], abandoned: Callable[[_T], object] | None = None, *, hurry: bool = True
    ) -> _T:
        """Return what an operation returned, once it is committed.

        Args:
            operation: called in the thread; called again when the transaction it was in is rolled back.
            abandoned: called in the loop with what was committed for a caller who was canceled meanwhile.
            hurry: whether somebody out there waits for it; else it may wait a moment for others to be committed with.

        Raises:
            StateUnavailable: nothing of it was kept.
        """
        result = self.submit(operation, abandoned, hurry=hurry)
        try:
            return await result
        except asyncio.CancelledError:
            # Canceled in the very moment the result came: the future has it, and nobody will take it from there.
            if abandoned and result.done() and not result.cancelled() and result.exception() is None:
                abandoned(result.result())
            raise

    def submit(
        self, operation: Callable[[], _T], abandoned: Callable[[_T], object] | None = None, *, hurry: bool = True
    ) -> asyncio.Future[_T]:
        """Do the same for a caller who may not wait."""
        if self._closing:
            message = "the state is closed"
            raise StateUnavailable(message)
        result: asyncio.Future[_T] = self._loop.create_future()
        self._gathered.append(_Order(operation, result, abandoned))
        if self._busy:
            return result
        if hurry:
            self._busy = True
            self._stop_timer()
            # Not at once, so that what else this turn of the loop brings is in it.
            self._loop.call_soon(self._hand_over)
        elif self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE_SECONDS, self._hand_over)
        return result

    async def close(self) -> None:
        """Carry out what is queued and close the file."""
        if not self._closing:
            self._closing = True
            if not self._busy:
                self._hand_over()
        await asyncio.shield(self._closed)

    def _hand_over(self) -> None:
        """Give the thread what has gathered. It has nothing else to do."""
        self._stop_timer()
        batch, self._gathered = self._gathered[:_BATCH_ORDERS], self._gathered[_BATCH_ORDERS:]
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
            transactions = Transactions(self._path)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            self._call_loop(_settle, self._opened, error)
            return
        self._call_loop(_settle, self._opened, transactions)
        while batch := self._batches.get():
            outcomes = transactions.commit([order.operation for order in batch])
            self._call_loop(self._settle, batch, outcomes)
        transactions.close()
        self._call_loop(_settle, self._closed, None)

    def _call_loop(self, function: Callable[..., object], *arguments: object) -> None:
        # A loop that is closed has nobody waiting any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _settle(self, batch: Sequence[_Order], outcomes: Sequence[Any]) -> None:
        # First, so that the disk works while the callers do.
        self._hand_over()
        for order, outcome in zip(batch, outcomes, strict=True):
            if not order.result.done():
                _settle(order.result, outcome)
            elif order.abandoned and not isinstance(outcome, StateUnavailable):
                order.abandoned(outcome)


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
