"""The right to answer one message once, until a time."""

from typing import Final

import msgspec

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, Callback

MARGIN_SECONDS: Final = 10
"""WeCom counts from before the callback reached us, and an attempt takes time. Lower: a last attempt may come late."""


class ReplyWindow(msgspec.Struct, frozen=True):
    """One `response_url` and the message it belongs to. Times are in seconds since the epoch.

    `chat` is a chat key. `repeated` is True when a process died while it was answering through this window: its reply
    may have arrived.
    """

    message_id: str
    chat: str
    sender_id: str
    url: str
    opened_at: float
    expires_at: float
    repeated: bool = False

    def __repr__(self) -> str:
        return "<ReplyWindow>"


def open_window(callback: Callback, now: float) -> ReplyWindow | None:
    """Return the window a callback opens; None when it opens none that anybody will answer through."""
    if not callback.response_url or callback.type not in MESSAGE_TYPES:
        return None
    return ReplyWindow(
        message_id=callback.message_id,
        chat=chat_key(callback.chat_id, is_group=callback.is_group),
        sender_id=callback.sender_id,
        url=callback.response_url,
        opened_at=now,
        expires_at=now + limits.RESPONSE_URL_SECONDS - MARGIN_SECONDS,
    )


def chat_key(chat_id: str, *, is_group: bool) -> str:
    """Return the key of a chat in the state. A group may have the id of a person, so its kind is part of the key."""
    return f"{'group' if is_group else 'single'}:{chat_id}"


def may_have_window(chat_id: str, message_id: str | None) -> bool:
    """Tell whether WeCom may call a chat and a message so, None being any message: what is no id came from a host."""
    return _may_be_an_id(chat_id) and (message_id is None or _may_be_an_id(message_id))


def _may_be_an_id(text: str) -> bool:
    """Tell whether a text is neither empty nor one that cannot be written in UTF-8."""
    # Nearly every id; looking costs nothing.
    if text.isascii():
        return bool(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
