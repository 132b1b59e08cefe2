"""The thread behind the SQLite state: takes what has queued up, commits it together, tells the callers together."""

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


class _Order(NamedTuple):
    operation: Callable[[], Any]
    result: asyncio.Future[Any]
    abandoned: Callable[[Any], object] | None


class Writer:
    """Carries out operations in the order they were given, for callers in the loop that made it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
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
            self._orders.put(None)
            raise

    async def run(self, operation: Callable[[], _T], abandoned: Callable[[_T], object] | None = None) -> _T:
        """Return what an operation returned, once it is committed.

        Args:
            operation: called in the thread; called again when the transaction it was in is rolled back.
            abandoned: called in the loop with what was committed for a caller who was canceled meanwhile.

        Raises:
            StateUnavailable: nothing of it was kept.
        """
        result = self.submit(operation, abandoned)
        try:
            return await result
        except asyncio.CancelledError:
            # Canceled in the very moment the result came: the future has it, and nobody will take it from there.
            if abandoned and result.done() and not result.cancelled() and result.exception() is None:
                abandoned(result.result())
            raise

    def submit(
        self, operation: Callable[[], _T], abandoned: Callable[[_T], object] | None = None
    ) -> asyncio.Future[_T]:
        """Do the same for a caller who may not wait."""
        if self._closing:
            message = "the state is closed"
            raise StateUnavailable(message)
        result: asyncio.Future[_T] = self._loop.create_future()
        self._orders.put(_Order(operation, result, abandoned))
        return result

    async def close(self) -> None:
        """Carry out what is queued and close the file."""
        if not self._closing:
            self._closing = True
            self._orders.put(None)
        await asyncio.shield(self._closed)

    def _work(self) -> None:
        try:
            transactions = Transactions(self._path)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            self._call_loop(_settle, self._opened, error)
            return
        self._call_loop(_settle, self._opened, transactions)
        last = False
        while not last:
            orders, last = self._take()
            if orders:
                outcomes = transactions.commit([order.operation for order in orders])
                self._call_loop(_settle_all, orders, outcomes)
        transactions.close()
        self._call_loop(_settle, self._closed, None)

    def _take(self) -> tuple[list[_Order], bool]:
        """Wait for an order; return it and those behind it, and whether they are the last."""
        orders: list[_Order] = []
        order = self._orders.get()
        with contextlib.suppress(queue.Empty):
            while order is not None:
                orders.append(order)
                if len(orders) == _BATCH_ORDERS:
                    break
                order = self._orders.get_nowait()
        return orders, order is None

    def _call_loop(self, function: Callable[..., object], *arguments: object) -> None:
        # A loop that is closed has nobody waiting any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle_all(orders: Sequence[_Order], outcomes: Sequence[Any]) -> None:
    for order, outcome in zip(orders, outcomes, strict=True):
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
