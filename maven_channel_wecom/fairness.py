"""How chats share a limited resource: places in the inbox, memory for media, turns of the agent.

The rule is the same everywhere: a chat may use at most as much as is free. One busy chat gets half of the resource, two
get a third each, and some of it is always left for a chat that uses nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")


class SharedLimit:
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

    def __iter__(self) -> Iterator[_T]:
        return (item for items in self._items.values() for item in items)

    def add(self, chat: str, item: _T) -> None:
        """Append an item to those of its chat."""
        self._items.setdefault(chat, deque()).append(item)

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
