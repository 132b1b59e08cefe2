"""Reply windows: the right to answer one message once, until it expires."""

from typing import Final

import msgspec

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.callback import Callback, is_message

MARGIN_SECONDS: Final = 10
"""How long before the end of WeCom's hour a window expires: that hour starts before the callback reaches us, and an
attempt takes time. Lower: the last attempt may be too late. Higher: late answers are lost."""


class ReplyWindow(msgspec.Struct, frozen=True):
    """One `response_url` and the message it belongs to. Times are in seconds since the epoch.

    `chat` is a chat key. `repeated` is True if an earlier attempt through this window may have arrived: the process
    died or the host cancelled the reply while it was being sent, or WeCom answered with an error after which it is
    retried.
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
    """Return the window that a callback opens, or None if it has no `response_url` or is not a message."""
    if not callback.response_url or not is_message(callback.type):
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
    """Return the key of a chat in the state. It includes the kind of chat, as a group and a person may share an id."""
    return f"{'group' if is_group else 'single'}:{chat_id}"


def may_have_window(chat_id: str, message_id: str | None) -> bool:
    """Return whether a chat id and a message id given by the host are possible ids; None stands for any message."""
    return _is_possible_id(chat_id) and (message_id is None or _is_possible_id(message_id))


def _is_possible_id(text: str) -> bool:
    """Return whether a text is not empty and can be encoded as UTF-8."""
    # The fast path: nearly all ids are ASCII.
    if text.isascii():
        return bool(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
