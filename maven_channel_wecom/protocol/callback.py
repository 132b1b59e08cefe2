"""Parsing of a decrypted callback into a flat `Callback` value.

Nothing outside `protocol` uses WeCom's field names. An unknown message type, event or item is a value, not an error,
and so is a message whose payload cannot be read: the agent is told, and its user gets an answer.
"""

import contextlib
import functools
import json
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import inspect

from maven_channel_wecom.errors import FeedbackKind, FeedbackReason, MalformedCallback
from maven_channel_wecom.protocol import schema

MediaKind = Literal["image", "file", "video"]

# 100719 "接收消息", 2025-12-11; video since 2026-03-12.
MESSAGE_TYPES: Final = ("text", "image", "mixed", "voice", "file", "video")
# 101027 "接收事件", 2025-11-25.
EVENT: Final = "event"
# 100719 "流式消息刷新": WeCom asks about once a second for the newest frame of a stream that is not finished.
REFRESH: Final = "stream"
ENTER_CHAT: Final = "enter_chat"
FEEDBACK: Final = "feedback_event"


def is_message(type_: str) -> bool:
    """Return whether a callback of a type is something that a person sent to be answered, known to us or not."""
    return type_ not in {REFRESH, EVENT}


# 101027 "feedback_event", 2025-11-25.
_RATING_KINDS: Final[dict[int, FeedbackKind]] = {1: "accurate", 2: "inaccurate", 3: "withdrawn"}
_RATING_REASONS: Final[dict[int, FeedbackReason]] = {
    1: "off_topic",
    2: "incomplete",
    3: "wrong",
    4: "data_analysis",
}

# Lenient parsing takes a tenth of a millisecond per kilobyte.
_MAX_LENIENT_BYTES: Final = 128 * 1024

# The details of an event are logged.
_MAX_DETAIL_CHARACTERS: Final = 128

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_OBJECT_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST_DECODER = msgspec.json.Decoder(list[msgspec.Raw])
_type_info = functools.cache(inspect.type_info)


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


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """A person's feedback on an answer. `id` is the one sent with the answer; `comment` is what the person wrote."""

    id: str
    kind: FeedbackKind
    reasons: tuple[FeedbackReason, ...] = ()
    comment: str = ""

    def __repr__(self) -> str:
        return f"<Rating {self.kind}>"


class Event(msgspec.Struct, frozen=True):
    """An event. `details` holds its fields, without any text that a user wrote."""

    type: str
    details: dict[str, str | int | list[int]]
    rating: Rating | None = None


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One callback. `type` is WeCom's `msgtype`; `response_url` is secret, and empty if WeCom sent none.

    `stream_id` is the stream that a refresh asks for, empty in other callbacks.
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
    stream_id: str = ""

    def __repr__(self) -> str:
        return f"<Callback {self.type}>"


def read_callback(message: bytes) -> Callback:
    """Parse the JSON of a decrypted callback: first the header, then the payload of its type.

    Raises:
        MalformedCallback: the message is not a JSON object, or has no `msgid` or `msgtype`.
    """
    # https://developer.work.weixin.qq.com/document/path/100719
    header = _decode(message, schema.Header)
    if not header.msgid or not header.msgtype:
        text = "msgid or msgtype is missing, empty, too long or not a string"
        raise MalformedCallback(text)
    items: tuple[Item, ...] = ()
    quoted_items: tuple[Item, ...] = ()
    event = None
    stream_id = ""
    if header.msgtype in MESSAGE_TYPES:
        payload = _decode(message, schema.Message)
        items = _items(header.msgtype, payload)
        quoted_items = _quoted_items(payload.quote)
    elif header.msgtype == EVENT:
        event = _event(_decode(message, schema.EventMessage).event)
    elif header.msgtype == REFRESH:
        stream_id = _decode(message, schema.RefreshMessage).stream.id
    # Only a chat that is certainly single may use the sender's session. Some events have no kind of chat (101027).
    is_group = header.chattype != "single" and bool(header.chattype or header.chatid)
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
        stream_id=stream_id,
    )


def _decode(message: bytes, type_: type[_Struct]) -> _Struct:
    try:
        try:
            return decode(message, type_)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if len(message) > _MAX_LENIENT_BYTES:
                raise
            # msgspec rejects lone surrogates and raw control characters inside strings; WeCom has sent the latter.
            lenient = json.dumps(json.loads(message, strict=False), ensure_ascii=False)
            well_formed = lenient.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return decode(well_formed, type_)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # The text of the cause quotes the message, so it is not included.
        text = "the callback is not a JSON object"
        raise MalformedCallback(text) from None


def decode(message: bytes | str | msgspec.Raw, type_: type[_Struct]) -> _Struct:
    """Decode a JSON object to a Struct of `schema`. A value that does not fit its field is absent.

    Raises:
        msgspec.DecodeError: the message is not JSON. As ValidationError: it is not an object.
    """
    try:
        return msgspec.json.decode(message, type=type_, strict=False)
    except msgspec.ValidationError:
        values = _OBJECT_DECODER.decode(message)
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(type_):
        if field.encode_name in values:
            with contextlib.suppress(msgspec.ValidationError):
                found[field.name] = _decode_value(values[field.encode_name], field.type)
    return type_(**found)


def _decode_value(value: msgspec.Raw, annotation: object) -> object:
    """Decode the value of one field; of an object, and of a list of objects, decode whatever fits.

    Raises:
        msgspec.ValidationError: nothing fits.
    """
    try:
        return msgspec.json.decode(value, type=annotation, strict=False)
    except msgspec.ValidationError:
        if annotation == schema.Id:
            # An id written as a number is that id.
            return msgspec.convert(str(msgspec.json.decode(value, type=int)), annotation)
        type_ = _type_info(annotation)
        if isinstance(type_, inspect.UnionType):
            # All unions here are of one type and None.
            type_ = type_.types[0]
        if isinstance(type_, inspect.StructType):
            return decode(value, type_.cls)
        if not isinstance(type_, inspect.ListType) or not isinstance(type_.item_type, inspect.StructType):
            raise
    items = []
    for item in _LIST_DECODER.decode(value)[: type_.max_length]:
        with contextlib.suppress(msgspec.ValidationError):
            items.append(decode(item, type_.item_type.cls))
    return items


def _items(type_: str, payload: schema.Payload) -> tuple[Item, ...]:
    """Return the items of a payload, or one UnknownItem if it has none that can be read."""
    if type_ == "mixed" and payload.mixed and payload.mixed.msg_item:
        return tuple(_mixed_item(item) for item in payload.mixed.msg_item)
    if type_ in {"text", "voice"}:
        text = payload.text if type_ == "text" else payload.voice
        if text and text.content is not None:
            return (TextItem(text.content),)
    if type_ == "image" and payload.image:
        return (_media_item("image", payload.image),)
    if type_ == "file" and payload.file:
        return (_media_item("file", payload.file),)
    if type_ == "video" and payload.video:
        return (_media_item("video", payload.video),)
    return (UnknownItem(type_),)


def _mixed_item(item: schema.MixedItem) -> Item:
    if item.msgtype == "text" and item.text and item.text.content is not None:
        return TextItem(item.text.content)
    if item.msgtype == "image" and item.image:
        return _media_item("image", item.image)
    return UnknownItem(item.msgtype)


def _media_item(kind: MediaKind, media: schema.Media) -> MediaItem:
    # In every official sample the URL ends with a space (100719), which would otherwise be part of its signature.
    return MediaItem(kind=kind, url=media.url.strip(), media_id=media.media_id, aes_key=media.aeskey)


def _quoted_items(quote: msgspec.Raw) -> tuple[Item, ...]:
    """Parse a quote. An unreadable one becomes an UnknownItem, because the user's own words can still be answered."""
    if bytes(quote) == b"null":
        return ()
    try:
        payload = _decode(bytes(quote), schema.Quote)
    except MalformedCallback:
        return (UnknownItem("quote"),)
    return _items(payload.msgtype, payload)


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
    return Event(body.eventtype, clipped, _rating(body.feedback_event) if body.feedback_event else None)


def _rating(feedback: schema.FeedbackEvent) -> Rating | None:
    """Return what a person says about an answer, None for a kind that WeCom has not documented."""
    kind = _RATING_KINDS.get(feedback.type)
    if kind is None:
        return None
    # 101027: only this kind has reasons and a comment.
    is_inaccurate = kind == "inaccurate"
    reasons = dict.fromkeys(_RATING_REASONS.get(number, "other") for number in feedback.inaccurate_reason_list)
    return Rating(
        id=feedback.id,
        kind=kind,
        reasons=tuple(reasons) if is_inaccurate else (),
        comment=feedback.content if is_inaccurate else "",
    )
