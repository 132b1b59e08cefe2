"""Messages for the tests of the state: by default from Alice in one group, with a reply window of an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom.policy.reply_window import ReplyWindow, chat_key
from maven_channel_wecom.state.store import Admission, StoredCallback

if TYPE_CHECKING:
    from maven_channel_wecom.state.store import StateStore

NOW: Final = 1_700_000_000.0
HOUR: Final = 3600.0

CHAT: Final = chat_key("chat", is_group=True)
"""Default chat of the messages."""


def stored(message_id: str, received_at: float = NOW) -> StoredCallback:
    return StoredCallback(message_id, received_at, f"message {message_id} \0 文字".encode())


def window(
    message_id: str,
    opened_at: float = NOW,
    *,
    chat: str = CHAT,
    sender_id: str = "alice",
    repeated: bool = False,
) -> ReplyWindow:
    url = f"https://x/{message_id}?文字"
    return ReplyWindow(message_id, chat, sender_id, url, opened_at, opened_at + HOUR, repeated)


def admission(message_id: str, now: float = NOW, *, chat: str = CHAT, sender_id: str = "alice") -> Admission:
    """Return the admission of a message with a reply window."""
    return Admission(stored(message_id, now), window(message_id, now, chat=chat, sender_id=sender_id))


def admission_of_event(message_id: str, now: float = NOW) -> Admission:
    """Return the admission of a callback without a reply window."""
    return Admission(stored(message_id, now), None)


def admission_with_stream(message_id: str, now: float = NOW) -> Admission:
    """Return the admission of a message whose acknowledgement opens the stream `stream of MESSAGE_ID`."""
    return Admission(stored(message_id, now), window(message_id, now), stream_id(message_id))


def stream_id(message_id: str) -> str:
    return f"stream of {message_id}"


async def admit(
    store: StateStore, message_id: str, now: float = NOW, *, chat: str = CHAT, sender_id: str = "alice"
) -> bool:
    """Admit one message and return whether it was new."""
    (new,) = await store.admit([admission(message_id, now, chat=chat, sender_id=sender_id)], now)
    return new


async def claim(store: StateStore, message_id: str, now: float = NOW) -> ReplyWindow:
    """Claim the window of a message, which must be open."""
    claimed = await store.claim_window([CHAT], message_id, now)
    assert claimed is not None
    return claimed


async def take_over_all(store: StateStore, now: float = NOW) -> list[StoredCallback]:
    """Take over messages until none are left."""
    taken: list[StoredCallback] = []
    while some := await store.take_over(now):
        taken += some
    return taken
