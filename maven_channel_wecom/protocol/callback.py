"""Parsing of a decrypted callback into a flat `Callback` value.

Nothing outside `protocol` uses WeCom's field names. An unknown message type, event or item is a value, not an error.
"""

import json
from typing import Final, Literal, TypeVar

import msgspec

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.protocol import limits, schema

MediaKind = Literal["image", "file", "video"]

# 100719 "接收消息", 2025-12-11; video since 2026-03-12.
MESSAGE_TYPES: Final = ("text", "image", "mixed", "voice", "file", "video")
# 100719 "流式消息刷新": WeCom polls for the next part of an answer that is streamed as a passive reply.
STREAM: Final = "stream"
# 101027 "接收事件", 2025-11-25.
EVENT: Final = "event"
EVENT_TYPES: Final = ("enter_chat", "template_card_event", "feedback_event")

# Lenient parsing takes a tenth of a millisecond per kilobyte.
_MAX_LENIENT_BYTES: Final = 128 * 1024

# The details of an event are logged.
_MAX_DETAIL_CHARACTERS: Final = 128

_T = TypeVar("_T")


class TextItem(msgspec.Struct, frozen=True):
    """A text, or WeCom's transcript of a voice message."""

    content: str

    def __repr__(self) -> str:
        return "<TextItem>"


class MediaItem(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, file or video.

    `url` is signed, secret and valid for five minutes; it is empty if WeCom sent none.
    """

    kind: MediaKind
    url: str
    media_id: str = ""
    aes_key: str = ""

    def __repr__(self) -> str:
        return f"<MediaItem {self.kind}>"


class UnknownItem(msgspec.Struct, frozen=True):
    """An item of a type unknown to this channel; `type` is WeCom's name for it."""

    type: str


Item = TextItem | MediaItem | UnknownItem


class Event(msgspec.Struct, frozen=True):
    """An event. `details` holds its fields, without any text that a user wrote."""

    type: str
    details: dict[str, str | int | list[int]]


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One callback. `type` is WeCom's `msgtype`; `response_url` is secret, and empty if WeCom sent none.

    `chat_id` is the id of the group, or of the sender in a single chat. `created_at` is in seconds since the epoch, or
    None if WeCom sent no time.
    """

    message_id: str
    type: str
    bot_id: str = ""
    is_group: bool = False
    chat_id: str = ""
    sender_id: str = ""
    response_url: str = ""
    created_at: int | None = None
    items: tuple[Item, ...] = ()
    quoted_items: tuple[Item, ...] = ()
    event: Event | None = None

    def __repr__(self) -> str:
        return f"<Callback {self.type}>"


def read_callback(message: bytes) -> Callback:
    """Parse the JSON of a decrypted callback: first the header, then the payload of its type.

    Raises:
        MalformedCallback: the message is not a JSON object, has no `msgid` or `msgtype`, or is of a known type and
            lacks its payload.
    """
    # https://developer.work.weixin.qq.com/document/path/100719
    header = _decode(message, schema.Header)
    if not header.msgid or not header.msgtype or len(header.msgid) > limits.ID_CHARACTERS:
        text = "msgid or msgtype is empty, or msgid is too long"
        raise MalformedCallback(text)
    items: tuple[Item, ...] = ()
    quoted_items: tuple[Item, ...] = ()
    event = None
    if header.msgtype in MESSAGE_TYPES:
        payload = _decode(message, schema.Message)
        items = _items(header.msgtype, payload)
        if not items:
            text = f"a {header.msgtype} message carries no {header.msgtype}"
            raise MalformedCallback(text)
        quoted_items = _quoted_items(payload.quote)
    elif header.msgtype == EVENT:
        event = _event(_decode(message, schema.EventMessage).event)
    is_group = header.chattype == "group"
    return Callback(
        message_id=header.msgid,
        type=header.msgtype,
        bot_id=header.aibotid,
        is_group=is_group,
        chat_id=header.chatid if is_group else header.sender.userid,
        sender_id=header.sender.userid,
        response_url=header.response_url.strip(),
        created_at=header.create_time,
        items=items,
        quoted_items=quoted_items,
        event=event,
    )


def _decode(message: bytes, type_: type[_T]) -> _T:
    try:
        try:
            return msgspec.json.decode(message, type=type_, strict=False)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if len(message) > _MAX_LENIENT_BYTES:
                raise
            # msgspec rejects lone surrogates and raw control characters inside strings; WeCom has sent the latter.
            lenient = json.dumps(json.loads(message, strict=False), ensure_ascii=False)
            well_formed = lenient.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return msgspec.json.decode(well_formed, type=type_, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # The text of the cause quotes the message, so it is not included.
        text = "the callback is not JSON of the expected form"
        raise MalformedCallback(text) from None


def _items(type_: str, payload: schema.Payload) -> tuple[Item, ...]:
    if type_ == "mixed":
        return tuple(_mixed_item(item) for item in payload.mixed.msg_item) if payload.mixed else ()
    if type_ in {"text", "voice"}:
        text = payload.text if type_ == "text" else payload.voice
        return (TextItem(text.content),) if text else ()
    if type_ == "image":
        return (_media_item("image", payload.image),) if payload.image else ()
    if type_ == "file":
        return (_media_item("file", payload.file),) if payload.file else ()
    if type_ == "video":
        return (_media_item("video", payload.video),) if payload.video else ()
    return (UnknownItem(type_),)


def _mixed_item(item: schema.MixedItem) -> Item:
    if item.msgtype == "text" and item.text:
        return TextItem(item.text.content)
    if item.msgtype == "image" and item.image:
        return _media_item("image", item.image)
    return UnknownItem(item.msgtype)


def _media_item(kind: MediaKind, media: schema.Media) -> MediaItem:
    # In every official sample the URL ends with a space (100719), which would otherwise be part of its signature.
    return MediaItem(kind=kind, url=media.url.strip(), media_id=media.media_id, aes_key=media.aeskey)


def _quoted_items(quote: object) -> tuple[Item, ...]:
    """Parse a quote. An unreadable one becomes an UnknownItem, because the user's own words can still be answered."""
    if quote is None:
        return ()
    try:
        payload = msgspec.convert(quote, schema.Quote, strict=False)
    except msgspec.ValidationError:
        return (UnknownItem("quote"),)
    return _items(payload.msgtype, payload) or (UnknownItem(payload.msgtype),)


def _event(body: schema.EventBody) -> Event:
    details: dict[str, str | int | list[int]] = {}
    if card := body.template_card_event:
        details = {"card_type": card.card_type, "event_key": card.event_key, "task_id": card.task_id}
    elif feedback := body.feedback_event:
        details = {
            "feedback_id": feedback.id,
            "feedback_type": feedback.type,
            "inaccurate_reasons": feedback.inaccurate_reason_list,
        }
    clipped = {
        name: value[:_MAX_DETAIL_CHARACTERS] if isinstance(value, str | list) else value
        for name, value in details.items()
    }
    return Event(body.eventtype, clipped)
