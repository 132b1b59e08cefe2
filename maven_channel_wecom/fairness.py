"""How chats share a limited resource: places in the inbox, memory for media, replies being sent, turns of the agent.

The rule is the same everywhere: a chat may use at most as much as is free. One busy chat gets half of the resource, and
the next one half of the rest; in time, two busy chats get a third each, three get a quarter. The more chats are busy,
the less is left for a chat that uses nothing. If nothing is left, it is served after the chats that waited before it,
once each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_T = TypeVar("_T")


class Limit(Protocol):
    """Decides whether a chat may use more of a resource."""

    @property
    def is_full(self) -> bool:
        """Whether no chat may use any more."""
        ...

    def allows(self, chat: str, amount: int = 1) -> bool:
        """Return whether the chat may use this amount now."""
        ...

    def reserve(self, chat: str, amount: int = 1) -> None:
        """Count an amount as used by a chat."""
        ...

    def release(self, chat: str, amount: int = 1) -> None:
        """Count an amount as free again."""
        ...


class OneAtATime(Limit):
    """Lets each chat do only one thing at a time, and any number of chats."""

    def __init__(self) -> None:
        self._busy: set[str] = set()

    @property
    def is_full(self) -> bool:
        """False: another chat may always do something."""
        return False

    def allows(self, chat: str, amount: int = 1) -> bool:  # noqa: ARG002 - a chat is busy or not
        """Return whether the chat does nothing."""
        return chat not in self._busy

    def reserve(self, chat: str, amount: int = 1) -> None:  # noqa: ARG002 - likewise
        """Count a chat as busy."""
        self._busy.add(chat)

    def release(self, chat: str, amount: int = 1) -> None:  # noqa: ARG002 - likewise
        """Count a chat as idle."""
        self._busy.discard(chat)


class SharedLimit(Limit):
    """Counts how much of a limited resource each chat uses.

    Args:
        limit: the amount of the resource, in any unit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_chat: Counter[str] = Counter()
        self.used = 0
        """The amount in use by all chats."""

    @property
    def free(self) -> int:
        """The amount that no chat uses."""
        return self._limit - self.used

    @property
    def is_full(self) -> bool:
        """Whether nothing is free."""
        return self.free <= 0

    def allows(self, chat: str, amount: int = 1) -> bool:
        """Return whether this amount is free, and the chat uses at most as much as is free."""
        return amount <= self.free and self._by_chat[chat] <= self.free

    def reserve(self, chat: str, amount: int = 1) -> None:
        """Count an amount as used by a chat, allowed or not."""
        self.used += amount
        self._by_chat[chat] += amount

    def release(self, chat: str, amount: int = 1) -> None:
        """Count an amount as free again."""
        self.used -= amount
        self._by_chat[chat] -= amount
        if not self._by_chat[chat]:
            del self._by_chat[chat]


class RoundRobin(Generic[_T]):
    """A queue that serves chats in turn, and the items of one chat in the order in which they were added."""

    def __init__(self) -> None:
        self._items: dict[str, deque[_T]] = {}

    def __len__(self) -> int:
        return sum(len(items) for items in self._items.values())

    def add(self, chat: str, item: _T) -> None:
        """Append an item to those of its chat."""
        self._items.setdefault(chat, deque()).append(item)

    def discard(self, chat: str, item: _T) -> None:
        """Remove an item of a chat if it is still there."""
        items = self._items.get(chat, deque())
        with contextlib.suppress(ValueError):
            items.remove(item)
        if not items:
            self._items.pop(chat, None)

    def pop(self, is_ready: Callable[[str, _T], bool]) -> _T | None:
        """Remove and return the first item of the next chat whose first item is ready, or return None."""
        chat = next((chat for chat, items in self._items.items() if is_ready(chat, items[0])), None)
        if chat is None:
            return None
        items = self._items.pop(chat)
        item = items.popleft()
        if items:
            # Added last, so that every other chat is served before this one.
            self._items[chat] = items
        return item


class SharedSemaphore:
    """Makes tasks wait until their chats may use more of one or several limited resources.

    Args:
        amounts: the resources, each with the amount that one task uses.
        served: called whenever waiting tasks have been granted what they may use.
    """

    def __init__(self, *amounts: tuple[Limit, int], served: Callable[[], None] = lambda: None) -> None:
        self._amounts = amounts
        self._served = served
        self._waiting: RoundRobin[tuple[str, asyncio.Future[None]]] = RoundRobin()

    @contextlib.asynccontextmanager
    async def hold(self, chat: str) -> AsyncIterator[None]:
        """Wait until the chat may use the amounts, and reserve them meanwhile."""
        await self.acquire(chat, asyncio.get_running_loop().create_future())
        try:
            yield
        finally:
            self.release(chat)

    async def acquire(self, chat: str, granted: asyncio.Future[None]) -> None:
        """Wait until the amounts are reserved for the chat and `granted` is set, or raise the exception set on it."""
        self._waiting.add(chat, (chat, granted))
        self.serve()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                # Granted and cancelled in the same loop iteration.
                self.release(chat)
            else:
                self._waiting.discard(chat, (chat, granted))
            raise

    def release(self, chat: str) -> None:
        """Release the amounts that one task of the chat has acquired."""
        for limit, amount in self._amounts:
            limit.release(chat, amount)
        self.serve()

    def serve(self) -> None:
        """Grant what waiting tasks may use now."""
        # Nobody is looked for while no one can be served: thousands may wait, and each that comes would look at all.
        while not any(limit.is_full for limit, _ in self._amounts) and (waiting := self._waiting.pop(self._is_ready)):
            chat, granted = waiting
            if not granted.done():
                self.grant(chat, granted)
        self._served()

    def grant(self, chat: str, granted: asyncio.Future[None]) -> None:
        """Reserve the amounts for a waiting task, allowed or not."""
        for limit, amount in self._amounts:
            limit.reserve(chat, amount)
        granted.set_result(None)

    def _is_ready(self, chat: str, waiting: tuple[str, asyncio.Future[None]]) -> bool:
        _, granted = waiting
        return granted.done() or all(limit.allows(chat, amount) for limit, amount in self._amounts)
