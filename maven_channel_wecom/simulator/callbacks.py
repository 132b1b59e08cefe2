"""Builds the JSON of each callback exactly as WeCom writes it, and seals it into a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import msgspec

from maven_channel_wecom.protocol import envelope, limits
from maven_channel_wecom.simulator.messages import (
    CardClick,
    EnterChat,
    Feedback,
    File,
    Image,
    ImageById,
    Message,
    Mixed,
    Quotable,
    StreamRefresh,
    Text,
    Unknown,
    Video,
    Voice,
)

if TYPE_CHECKING:
    from maven_channel_wecom.protocol.envelope import Credentials

StoreMedia = Callable[[bytes, str], str]
"""Stores a file, given its content and name, and returns its URL."""

# 100719 "触发场景", 2025-12-11: everything else reaches a bot from single chats only.
_GROUP_TYPES = (Text, Mixed, Unknown, StreamRefresh, CardClick, Feedback)
# 101138 "response_url", 2025-12-12: user messages and template card events only.
_WITHOUT_RESPONSE_URL = (StreamRefresh, EnterChat, Feedback)
_TYPES: dict[type, str] = {Text: "text", Voice: "voice", Image: "image", File: "file", Video: "video", Mixed: "mixed"}
_NONCE_DIGITS = 10
# 101027 "feedback_event": only this type carries a text and reasons.
_INACCURATE = 2


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """The bot, the sender and the chat of a message; `group_id` is empty in a single chat."""

    bot_id: str
    user_id: str
    group_id: str = ""


class SealedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed callback or URL check. `query` is percent-encoded; `body` is empty for a URL check."""

    query: str
    body: bytes
    nonce: str
    timestamp: int
    credentials: Credentials

    def __repr__(self) -> str:
        return f"<SealedRequest of {len(self.body)} bytes>"


def has_response_url(message: Message) -> bool:
    """Return whether WeCom sends a `response_url` with this kind of callback."""
    return not isinstance(message, _WITHOUT_RESPONSE_URL)


SentKind = Literal["message", "refresh", "enter_chat", "event"]
"""What decides how a callback may be answered. `event` is any event but `enter_chat`."""


class _Sender(msgspec.Struct, frozen=True):
    userid: str = ""


class _EventKind(msgspec.Struct, frozen=True):
    eventtype: str = ""


class _StreamName(msgspec.Struct, frozen=True):
    id: str = ""


class CallbackHead(msgspec.Struct, frozen=True):
    """What a callback says of itself. `chatid` is empty in a single chat."""

    msgtype: str = ""
    chatid: str = ""
    sender: _Sender = msgspec.field(name="from", default_factory=_Sender)
    event: _EventKind = _EventKind()
    stream: _StreamName = _StreamName()

    @property
    def kind(self) -> SentKind:
        """What decides how it may be answered."""
        if self.msgtype == "event":
            return "enter_chat" if self.event.eventtype == "enter_chat" else "event"
        return "refresh" if self.msgtype == "stream" else "message"


def read_head(plain: bytes) -> CallbackHead:
    """Read the head of a plaintext, which may be anything: what cannot be read is a message of nobody."""
    try:
        return msgspec.json.decode(plain, type=CallbackHead)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return CallbackHead()


def plaintext(
    message: Message,
    address: Address,
    *,
    message_id: str,
    response_url: str,
    now: int,
    store: StoreMedia,
    quote: Quotable | None = None,
) -> bytes:
    """Return the JSON of a callback (100719, 101027).

    Args:
        message: the message or event.
        address: its sender and chat.
        message_id: `msgid`.
        response_url: left out of the JSON when empty.
        now: seconds since the epoch, sent with events only.
        store: stores media files for download.
        quote: the message that the user quotes.

    Raises:
        ValueError: WeCom does not send this kind of message from a group.
    """
    # https://developer.work.weixin.qq.com/document/path/100719
    if address.group_id and not isinstance(message, _GROUP_TYPES):
        text = f"WeCom sends no {type(message).__name__} from a group"
        raise ValueError(text)
    fields: dict[str, Any] = {"msgid": message_id, "aibotid": address.bot_id}
    # 101027: the sample of this event alone has neither chattype nor chatid.
    if not isinstance(message, EnterChat):
        if address.group_id:
            fields["chatid"] = address.group_id
        fields["chattype"] = "group" if address.group_id else "single"
    fields["from"] = {"userid": address.user_id}
    if response_url:
        fields["response_url"] = response_url
    if isinstance(message, EnterChat | CardClick | Feedback):
        fields |= {"create_time": now, "msgtype": "event", "event": _event(message)}
    else:
        fields |= _payload(message, store)
    if quote is not None:
        fields["quote"] = _payload(quote, store)
    return msgspec.json.encode(fields)


def seal_callback(
    message: bytes, credentials: Credentials, *, receive_id: str, timestamp: int, random: Callable[[int], bytes]
) -> SealedRequest:
    """Seal a plaintext with a new nonce and random bytes. `timestamp` is in seconds, `random(n)` returns n bytes."""
    return _seal(message, credentials, receive_id=receive_id, timestamp=timestamp, random=random, in_query=False)


def seal_url_check(
    echo: bytes, credentials: Credentials, *, receive_id: str, timestamp: int, random: Callable[[int], bytes]
) -> SealedRequest:
    """Seal a URL check: the ciphertext is the parameter `echostr`, with `+`, `/` and `=` percent-encoded (101033)."""
    return _seal(echo, credentials, receive_id=receive_id, timestamp=timestamp, random=random, in_query=True)


def _seal(
    message: bytes,
    credentials: Credentials,
    *,
    receive_id: str,
    timestamp: int,
    random: Callable[[int], bytes],
    in_query: bool,
) -> SealedRequest:
    nonce = str(int.from_bytes(random(8), "big") % 10**_NONCE_DIGITS)
    sealed = envelope.seal(
        credentials,
        message,
        receive_id=receive_id,
        timestamp=timestamp,
        nonce=nonce,
        random=random(limits.FRAME_RANDOM_BYTES),
    )
    query = {"msg_signature": sealed.msgsignature, "timestamp": str(timestamp), "nonce": nonce}
    if in_query:
        query["echostr"] = sealed.encrypt
    return SealedRequest(
        query=urlencode(query),
        body=b"" if in_query else msgspec.json.encode({"encrypt": sealed.encrypt}),
        nonce=nonce,
        timestamp=timestamp,
        credentials=credentials,
    )


def _payload(message: Quotable | ImageById | Unknown | StreamRefresh, store: StoreMedia) -> dict[str, Any]:
    """Return `msgtype` and the object named by it. A quote has the same shape (100719)."""
    match message:
        case Text() | Voice():
            return _typed(_TYPES[type(message)], {"content": message.content})
        case Image() | File() | Video():
            # 100719: every official sample ends with this space.
            return _typed(_TYPES[type(message)], {"url": store(message.content, message.name) + " "})
        case ImageById():
            return _typed("image", {"media_id": message.media_id})
        case Mixed():
            return _typed("mixed", {"msg_item": [_payload(part, store) for part in message.parts]})
        case StreamRefresh():
            return _typed("stream", {"id": message.stream_id})
        case Unknown():
            return _typed(message.type, message.payload)


def _typed(type_: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"msgtype": type_, type_: content}


def _event(message: EnterChat | CardClick | Feedback) -> dict[str, Any]:
    # https://developer.work.weixin.qq.com/document/path/101027
    match message:
        case EnterChat():
            return {"eventtype": "enter_chat"}
        case CardClick():
            details: dict[str, Any] = {
                "card_type": message.card_type,
                "event_key": message.event_key,
                "task_id": message.task_id,
            }
            return {"eventtype": "template_card_event", "template_card_event": details}
        case Feedback():
            details = {"id": message.feedback_id, "type": message.type}
            if message.type == _INACCURATE:
                details["content"] = message.content
                details["inaccurate_reason_list"] = list(message.inaccurate_reasons)
            return {"eventtype": "feedback_event", "feedback_event": details}
