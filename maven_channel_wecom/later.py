"""A value that will be there once a future is done, at the cost of one callback and no task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_U = TypeVar("_U")


class Later(Generic[_T]):
    """What a future will bring, and the steps to take on it then.

    A task that waits for the same costs twice as much, and a chain of futures takes a turn of the event loop for each.
    The steps are taken once, by `tell`, whether or not anybody is still interested: what was begun is concluded.

    Args:
        done: the future. To give up on it, cancel it.
        result: returns the value once the future is done, or raises; by default what the future has. TimeoutError when
            the future was canceled.
    """

    __slots__ = ("_result", "done")

    def __init__(self, done: asyncio.Future[Any], result: Callable[[], _T] | None = None) -> None:
        self.done = done
        self._result = result or self._brought

    def then(self, step: Callable[[Callable[[], _T]], _U]) -> Later[_U]:
        """Return the value of a step that is given a function to get this value by."""
        result = self._result
        return Later(self.done, lambda: step(result))

    def tell(self, receive: Callable[[Callable[[], _T]], object]) -> None:
        """Call `receive`, once the future is done, with a function that takes the steps: it must be called once."""
        result = self._result
        self.done.add_done_callback(lambda _: receive(result))

    async def wait(self) -> _T:
        """Wait for the value. Whoever is canceled meanwhile gives up on the future."""
        answer: asyncio.Future[_T] = self.done.get_loop().create_future()

        def receive(result: Callable[[], _T]) -> None:
            try:
                value = result()
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(value)

        self.tell(receive)
        try:
            return await answer
        except asyncio.CancelledError:
            self.done.cancel()
            raise

    def _brought(self) -> _T:
        if self.done.cancelled():
            raise TimeoutError
        value: _T = self.done.result()
        return value


async def settled(value: _T | Later[_T]) -> _T:
    """Return a value, waiting for it where it is not there yet."""
    return await value.wait() if isinstance(value, Later) else value
