"""Calls of one script by many callers, made together while Redis is busy with earlier ones."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from maven_channel_wecom.errors import StateUnavailable
from maven_channel_wecom.state.redis.errors import UNEXPECTED_ANSWER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    _Arguments = tuple[str | float, ...]


class JointCalls:
    """Makes calls of one script. Those that come while one is under way are made together in the next.

    Args:
        run: runs the script with the arguments of several calls, and returns one result for each.
        most: the maximum number of calls that are made together.
    """

    def __init__(self, run: Callable[..., Awaitable[Sequence[Any]]], *, most: int) -> None:
        self._run = run
        self._most = most
        self._waiting: deque[tuple[_Arguments, asyncio.Future[Any]]] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def call(self, *arguments: str | float) -> Any:  # noqa: ANN401 - the type depends on the script
        """Make a call and return its result. If it is cancelled before it was sent, it is never sent.

        Raises:
            StateUnavailable: it is unknown whether the script ran.
        """
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, answered))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        result = await answered
        if isinstance(result, StateUnavailable):
            # A new instance for each caller, because raising the same one again extends its traceback.
            raise StateUnavailable(str(result), reason=result.reason)
        return result

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                calls = [(arguments, answered) for arguments, answered in taken if not answered.cancelled()]
                results = await self._results([arguments for arguments, _ in calls]) if calls else ()
                for (_, answered), result in zip(calls, results, strict=True):
                    if not answered.cancelled():
                        answered.set_result(result)
        finally:
            self._sender = None

    async def _results(self, calls: list[_Arguments]) -> Sequence[Any]:
        """Return the result of each call, or the failure of all of them."""
        try:
            results = await self._run(*chain.from_iterable(calls))
        except Exception as error:  # noqa: BLE001 - no caller may be left waiting, whatever the error
            failure = error if isinstance(error, StateUnavailable) else StateUnavailable(UNEXPECTED_ANSWER)
            return [failure] * len(calls)
        return results if len(results) == len(calls) else [StateUnavailable(UNEXPECTED_ANSWER)] * len(calls)
