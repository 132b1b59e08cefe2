"""What the host derives from a message: its session, who speaks in it, and whether it starts over. No I/O."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from typing import TYPE_CHECKING, Final

from maven_channel_wecom.contract.messages import TextBlock

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage

_SESSION_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "maven:session")

_NEW_CONVERSATION: Final = re.compile(r"\s*(/new|/新话题)\s*")
_AFTER_MENTION: Final = re.compile(r"\s*@\S+(\s+@\S+)*\s+(/new|/新话题)\s*")

_PSEUDONYM_CHARACTERS: Final = 8
"""Lower: two members of a large group are more likely to get the same pseudonym. With 8 hexadecimal digits, the chance
is 1 in 34,000 in a group of 500."""


def is_group(message: InboundMessage) -> bool:
    """Return whether a message was sent in a group."""
    return message.transport_meta.get("chat_type") == "group"


def session_id(message: InboundMessage) -> str:
    """Return the UUIDv5 of a message's chat, the same in every process and after every restart.

    A group may have the same id as a person, so the session of a group is derived from its kind too. That of a person
    is derived from it only if the id could be taken for a group.
    """
    channel = message.channel.replace("%", "%25").replace("/", "%2F")
    looks_like_a_kind = message.chat_id.startswith(("group:", "single:"))
    kind = "group:" if is_group(message) else "single:" * looks_like_a_kind
    return str(uuid.uuid5(_SESSION_NAMESPACE, f"{channel}/{kind}{message.chat_id}"))


def speaker(message: InboundMessage, *, shows_ids: bool = False) -> str:
    """Return by which name the agent learns who speaks in a group; empty in a single chat, where only one person does.

    It is the sender's id if `shows_ids`, otherwise a pseudonym that is the same for every message of this person in
    this group, and different in every other group. Whoever knows all ids can compute the pseudonyms.
    """
    if not is_group(message):
        return ""
    if shows_ids:
        return message.sender_id
    digest = hashlib.sha256(f"{session_id(message)}/{message.sender_id}".encode()).hexdigest()
    return f"member-{digest[:_PSEUDONYM_CHARACTERS]}"


def starts_over(message: InboundMessage) -> bool:
    """Return whether a message is `/new` or `/新话题` alone, in any case and width; in a group, also after mentions.

    A mention has no white space here. A name with spaces is removed by the channel if it knows the name.
    """
    if any(not isinstance(block, TextBlock) for block in message.content_blocks if not block.quoted):
        return False
    text = unicodedata.normalize("NFKC", message.content).casefold()
    return bool(_NEW_CONVERSATION.fullmatch(text) or (is_group(message) and _AFTER_MENTION.fullmatch(text)))
