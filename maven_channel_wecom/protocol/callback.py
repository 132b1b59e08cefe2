"""What lies inside an opened callback: the schema of WeCom's JSON, and the flat value we make of it.

WeCom's own spelling stops in this file. An unknown message type, event or item is a value, not an error.
"""

import json
from typing import Final, Literal, TypeVar

import msgspec

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.protocol import limits, schema

MediaKind = Literal["image", "file", "video"]

# 100719 "接收消息", 2025-12-11; video since 2026-03-12.
MESSAGE_TYPES: Final = ("text", "image", "mixed", "voice", "file", "video")
# 100719 "流式消息刷新": WeCom polls for the next piece of an answer streamed by passive reply.
STREAM: Final = "stream"
# 101027 "接收事件", 2025-11-25.
EVENT: Final = "event"
EVENT_TYPES: Final = ("enter_chat", "template_card_event", "feedback_event")

# The lenient way of reading costs a tenth of a millisecond for each kilobyte.
_LENIENT_BYTES: Final = 128 * 1024

# What an event says about itself is logged.
_DETAIL_CHARACTERS: Final = 128

_T = TypeVar("_T")


class TextItem(msgspec.Struct, frozen=True):
    """Text, or the transcript WeCom made of a voice message."""

    content: str

    def __repr__(self) -> str:
        return "<TextItem>"


class MediaItem(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, file or video. `url` is signed and secret, valid for five minutes; empty when WeCom sent none."""

    kind: MediaKind
    url: str
    media_id: str = ""
    aes_key: str = ""

    def __repr__(self) -> str:
        return f"<MediaItem {self.kind}>"


class UnknownItem(msgspec.Struct, frozen=True):
    """Something this channel has no name for; `type` is WeCom's."""

    type: str


Item = TextItem | MediaItem | UnknownItem


class Event(msgspec.Struct, frozen=True):
    """An event. `details` are its plain facts, without anything a user wrote."""

    type: str
    details: dict[str, str | int | list[int]]


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One callback. `type` is WeCom's `msgtype`; `response_url` is secret and empty when there is none.

    `chat_id` is the group, or the sender in a single chat. `created_at` is in seconds since the epoch, None when WeCom
    did not say.
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
    """Read the JSON of an opened callback: the header first, then what its type says.

    Raises:
        MalformedCallback: not a JSON object, `msgid` or `msgtype` missing, or a known type without its payload.
    """
    # https://developer.work.weixin.qq.com/document/path/100719
    header = _decode(message, schema.Header)
    if not header.msgid or not header.msgtype or len(header.msgid) > limits.ID_CHARACTERS:
        text = "msgid and msgtype must not be empty, nor msgid long"
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
            if len(message) > _LENIENT_BYTES:
                raise
            # Raw control characters inside strings, seen in the field, and lone surrogates are beyond msgspec.
            lenient = json.dumps(json.loads(message, strict=False), ensure_ascii=False)
            well_formed = lenient.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return msgspec.json.decode(well_formed, type=type_, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # The text of the cause quotes what was sent, so it is not passed on.
        text = "the callback is not the JSON it should be"
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
    # Every official sample ends the URL with a space (100719), which would become part of its signature.
    return MediaItem(kind=kind, url=media.url.strip(), media_id=media.media_id, aes_key=media.aeskey)


def _quoted_items(quote: object) -> tuple[Item, ...]:
    """Read a quote; one that cannot be read is unknown, since the user's own words are still worth an answer."""
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
        name: value[:_DETAIL_CHARACTERS] if isinstance(value, str | list) else value for name, value in details.items()
    }
    return Event(body.eventtype, clipped)
