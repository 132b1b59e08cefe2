"""The JSON of a decrypted callback, with WeCom's field names. `callback` turns it into flat values.

Every field has an empty default, which also stands for a value that does not fit: null, another type, a text over its
limit. A whole number fits an id.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

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


class Stream(_Part):
    """The stream that a refresh is about (100719 "流式消息刷新")."""

    id: Id = ""


class RefreshMessage(_Part):
    """A callback of type `stream` (100719)."""

    stream: Stream = msgspec.field(default_factory=Stream)


class CardEvent(_Part):
    """A click on a template card (101027). The page's parameter table misspells the keys; its samples are right."""

    card_type: str = ""
    event_key: str = ""
    task_id: str = ""


class FeedbackEvent(_Part):
    """A user's rating of an answer (101027): 1 accurate, 2 inaccurate, 3 withdrawn. `content` is the user's comment."""

    id: str = ""
    type: int = 0
    content: str = ""
    inaccurate_reason_list: list[int] = []


class EventBody(_Part):
    """An event, with its details in the field named after its type (101027)."""

    eventtype: Id = ""
    template_card_event: CardEvent | None = None
    feedback_event: FeedbackEvent | None = None


class EventMessage(_Part):
    """A callback of type `event` (101027)."""

    event: EventBody = msgspec.field(default_factory=EventBody)
