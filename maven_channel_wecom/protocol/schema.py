"""The JSON of a decrypted callback, with WeCom's field names. `callback` turns it into flat values.

Every field has an empty default, which also stands for a value that does not fit: null, another type, a text over its
limit. So one odd field never costs the rest of a message.
"""

import contextlib
import functools
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw, inspect

from maven_channel_wecom.protocol import limits

# WeCom documents no maximum. These limits keep a client that can sign callbacks from making us store, log or process
# very long values.
Id = Annotated[str, Meta(max_length=limits.ID_CHARACTERS)]
Url = Annotated[str, Meta(max_length=limits.URL_CHARACTERS)]
Seconds = Annotated[int, Meta(ge=0, lt=10**limits.TIMESTAMP_DIGITS)]


class _Part(msgspec.Struct):
    """Base of all objects in the JSON. They hold users' texts and secret URLs, so the repr shows no fields."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class From(_Part):
    """The sender (100719 "公共字段")."""

    userid: Id = ""


class Header(_Part):
    """The fields common to all callbacks (100719 "公共字段", 101027)."""

    msgid: Id = ""
    msgtype: Id = ""
    aibotid: Id = ""
    chattype: Id = ""
    chatid: Id = ""
    sender: From = msgspec.field(name="from", default_factory=From)
    response_url: Url = ""
    create_time: Seconds | None = None


class Text(_Part):
    """A text, or the transcript of a voice message (100719 "文本", "语音"). None: it has no readable content."""

    content: str | None = None


class Media(_Part):
    """A picture, file or video (100719). UNDOCUMENTED but seen: `media_id`, and `aeskey` as on the long connection."""

    url: Url = ""
    media_id: Id = ""
    aeskey: Id = ""


class MixedItem(_Part):
    """One text or picture of a mixed message (100719 "图文混排")."""

    msgtype: Id = ""
    text: Text | None = None
    image: Media | None = None


class Mixed(_Part):
    """A mixed message: texts and pictures in the order in which they were written (100719 "图文混排")."""

    msg_item: Annotated[list[MixedItem], Meta(max_length=limits.MIXED_ITEMS)] = []


class Payload(_Part):
    """The payload of a message, in the field named after its type (100719)."""

    text: Text | None = None
    image: Media | None = None
    mixed: Mixed | None = None
    voice: Text | None = None
    file: Media | None = None
    video: Media | None = None


class Quote(Payload):
    """A quoted message: a payload and its type (100719 "引用")."""

    msgtype: Id = ""


class Message(Payload):
    """A message. Its quote is decoded separately, because the agent is told of a quote that cannot be read."""

    quote: Raw = Raw(b"null")


class CardEvent(_Part):
    """A click on a template card (101027). The page's parameter table misspells the keys; its samples are right."""

    card_type: str = ""
    event_key: str = ""
    task_id: str = ""


class FeedbackEvent(_Part):
    """A user's rating of an answer (101027): 1 accurate, 2 inaccurate, 3 withdrawn. The user's comment is not read."""

    id: str = ""
    type: int = 0
    inaccurate_reason_list: list[int] = []


class EventBody(_Part):
    """An event, with its details in the field named after its type (101027)."""

    eventtype: Id = ""
    template_card_event: CardEvent | None = None
    feedback_event: FeedbackEvent | None = None


class EventMessage(_Part):
    """A callback of type `event` (101027)."""

    event: EventBody = msgspec.field(default_factory=EventBody)


_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_OBJECT_DECODER = msgspec.json.Decoder(dict[str, Raw])
_LIST_DECODER = msgspec.json.Decoder(list[Raw])
_type_info = functools.cache(inspect.type_info)


def decode(message: bytes | str | Raw, type_: type[_Struct]) -> _Struct:
    """Decode a JSON object to a Struct of this module.

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


def _decode_value(value: Raw, annotation: object) -> object:
    """Decode the value of one field; of an object, and of a list of objects, decode whatever fits.

    Raises:
        msgspec.ValidationError: nothing fits.
    """
    try:
        return msgspec.json.decode(value, type=annotation, strict=False)
    except msgspec.ValidationError:
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
