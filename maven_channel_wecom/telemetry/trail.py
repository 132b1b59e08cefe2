"""Trails of messages, and pseudonyms of people and chats, for log lines and spans."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from maven_channel_wecom.contract.pseudonym import Pseudonym

# Random per process, so that pseudonyms can neither be looked up in a table of ids nor be matched between processes.
_SALT: Final = secrets.token_bytes(16)

_TRAIL_BYTES: Final = 6
_PSEUDONYM_BYTES: Final = 5
_TRAIL: Final = re.compile("[0-9a-f]{12}")


def trail_id(channel: str, message_id: str) -> str:
    """Return the trail of a message, 12 hex digits, which joins its log lines and spans.

    It depends only on the arguments, so it is the same in all replicas and after a restart.
    """
    name = f"{channel}\0{message_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=_TRAIL_BYTES).hexdigest()


def is_trail(text: str) -> bool:
    """Return whether a text that came from outside can be a trail."""
    return _TRAIL.fullmatch(text) is not None


def pseudonym(user_or_chat_id: str) -> Pseudonym:
    """Return the pseudonym of a user id or chat id in the logs of this process."""
    name = user_or_chat_id.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(name, digest_size=_PSEUDONYM_BYTES, key=_SALT).hexdigest()
    return Pseudonym(f"#{digest}", user_or_chat_id)
