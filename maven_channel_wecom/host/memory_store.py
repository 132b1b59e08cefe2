"""Where conversations are stored: the interface, and the store in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from maven_channel_wecom.host.conversations import Conversation, size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

IN_PROCESS: Final = "memory:"
"""The address of a store in this process."""

IN_FILE: Final = "sqlite:"
"""The beginning of the address of a store in a file."""

MEMORY_STORE_BYTES: Final = 256 * 1024 * 1024
"""Maximum bytes of all conversations; the least recently changed are forgotten first. CPython stores a text with emoji
in up to four times its bytes. Lower: chats lose their memory earlier when many are active. Higher: the process uses
more memory, or the file more of the disk."""


class MemoryUnavailable(Exception):
    """A store cannot be used; the message says why and what to do."""


def memory_address_problem(address: str) -> str | None:
    """Return what is wrong with the address of a store, None if it is valid."""
    path = address.removeprefix(IN_FILE)
    if address != IN_PROCESS and (path == address or not path or path.startswith((":", "//")) or "\0" in path):
        return 'must be "memory:" or "sqlite:PATH", such as "sqlite:/var/lib/maven/memory.db"'
    return None


class MemoryStore(Protocol):
    """Holds one conversation for each session, an empty one if there is none."""

    async def read(self, session: str, now: float) -> Conversation:
        """Return a conversation. Raises MemoryUnavailable."""
        ...

    async def change(self, session: str, change: Callable[[Conversation], Conversation], now: float) -> None:
        """Replace a conversation by what `change` makes of it, atomically. Raises MemoryUnavailable.

        `change` may be called in another thread.
        """
        ...

    async def close(self) -> None:
        """Release what the store holds open. Nothing is called afterwards."""
        ...


class ProcessMemory(MemoryStore):
    """Holds conversations in this process, which forgets them when it ends."""

    def __init__(self, limit_bytes: int = MEMORY_STORE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        # The least recently changed first, which is also the first to expire.
        self._conversations: dict[str, Conversation] = {}
        self.used_bytes = 0
        """The bytes of all conversations."""

    def __len__(self) -> int:
        return len(self._conversations)

    async def read(self, session: str, now: float) -> Conversation:
        conversation = self._conversations.get(session)
        return conversation if conversation is not None and conversation.expires_at > now else Conversation()

    async def change(self, session: str, change: Callable[[Conversation], Conversation], now: float) -> None:
        changed = change(await self.read(session, now))
        self._drop(session)
        self._conversations[session] = changed
        self.used_bytes += size_bytes(changed)
        while oldest := next(iter(self._conversations), None):
            if self._conversations[oldest].expires_at > now and self.used_bytes <= self._limit_bytes:
                break
            self._drop(oldest)

    async def close(self) -> None:
        self._conversations.clear()
        self.used_bytes = 0

    def _drop(self, session: str) -> None:
        conversation = self._conversations.pop(session, None)
        if conversation is not None:
            self.used_bytes -= size_bytes(conversation)
