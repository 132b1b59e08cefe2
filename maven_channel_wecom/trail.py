"""One line for each step of a message, all under one short name: its trail."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.pseudonym import Pseudonym

if TYPE_CHECKING:
    import logging

# Another one in every process: nobody can make a table of ids, and no log can be joined with yesterday's by it.
_SALT: Final = secrets.token_bytes(16)

_TRAIL_BYTES: Final = 6
_PSEUDONYM_BYTES: Final = 5


def trail_id(channel: str, message_id: str) -> str:
    """Return the trail of a message, 12 hex digits.

    Made of nothing but its name, so that every replica, and the next process after a crash, calls it the same.
    """
    name = f"{channel}\0{message_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=_TRAIL_BYTES).hexdigest()


def pseudonym(person_or_chat: str) -> Pseudonym:
    """Return what a user id or a chat id is called in the log of this process."""
    name = person_or_chat.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(name, digest_size=_PSEUDONYM_BYTES, key=_SALT).hexdigest()
    return Pseudonym(f"#{digest}", person_or_chat)


class Trail:
    """Writes the steps of the messages of one channel."""

    def __init__(self, channel: str, logger: logging.Logger) -> None:
        self._channel = channel
        self._logger = logger

    def step(self, level: int, event: str, message_id: str | None, /, **fields: object) -> None:
        """Write what happened to a message; None when nobody knows to which. Nearly free when the level is off."""
        if not self._logger.isEnabledFor(level):
            return
        named: dict[str, object] = {"channel": self._channel}
        if message_id is not None:
            named["trail"] = trail_id(self._channel, message_id)
        self._logger.log(level, event, extra={"fields": named | fields})
