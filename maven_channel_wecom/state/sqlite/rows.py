"""Windows and callbacks as they are kept in rows, each with a checksum: SQLite has none for its pages."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from maven_channel_wecom.policy.reply_window import ReplyWindow
from maven_channel_wecom.state.port import KeptCallback
from maven_channel_wecom.state.sqlite.failures import Damage

if TYPE_CHECKING:
    from collections.abc import Sequence

_encode: Final = msgspec.msgpack.Encoder().encode


def read_window(row: Sequence[Any]) -> tuple[ReplyWindow, bool]:
    """Return a window, and whether it is claimed. Raises Damage when it is not what was written."""
    message_id, chat_id, sender_id, url, opened_at, expires_at, repeated, claimed, checksum = row
    window = ReplyWindow(message_id, chat_id, sender_id, url, opened_at, expires_at, bool(repeated))
    if checksum != window_checksum(window, claimed=bool(claimed)):
        raise Damage
    return window, bool(claimed)


def read_callback(row: Sequence[Any]) -> KeptCallback:
    """Return a callback in hand. Raises Damage when it is not what was written."""
    message_id, chat_id, received_at, message, checksum = row
    callback = KeptCallback(message_id, chat_id, received_at, message)
    if checksum != callback_checksum(callback):
        raise Damage
    return callback


def window_checksum(window: ReplyWindow, *, claimed: bool) -> int:
    """Return the CRC-32 of a window. Whole numbers count as the floats that SQLite gives back for them."""
    message_id, chat_id, sender_id, url, opened_at, expires_at, repeated = msgspec.structs.astuple(window)
    times = float(opened_at), float(expires_at)
    return zlib.crc32(_encode((message_id, chat_id, sender_id, url, *times, repeated, claimed)))


def callback_checksum(callback: KeptCallback) -> int:
    """Return the CRC-32 of a callback, in the same way."""
    message_id, chat_id, received_at, message = msgspec.structs.astuple(callback)
    return zlib.crc32(_encode((message_id, chat_id, float(received_at), message)))
