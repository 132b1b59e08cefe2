"""The JSON inside a callback as WeCom spells it. Its spelling stops here: `callback` makes flat values of it.

A field that some kind of callback lacks has a default, and is empty then.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from maven_channel_wecom.protocol import limits

# Where nothing is documented there is an end to it all the same: what is kept, logged or looked at must not be large
# because somebody who can sign says so.
Id = Annotated[str, Meta(max_length=limits.ID_CHARACTERS)]
Url = Annotated[str, Meta(max_length=limits.URL_CHARACTERS)]


class _Part(msgspec.Struct):
    """Any object in the JSON. What is in it is somebody's text or a secret URL, so no repr shows it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class From(_Part):
    """Who sent it (100719 "公共字段")."""

    userid: Id = ""


class Header(_Part):
    """What every callback has in common (100719 "公共字段", 101027)."""

    msgid: str
    msgtype: Id
    aibotid: Id = ""
    chattype: Id = ""
    chatid: Id = ""
    sender: From = msgspec.field(name="from", default_factory=From)
    response_url: Url = ""
    create_time: int | None = None


class Text(_Part):
    """A text, or the transcript of a voice message (100719 "文本", "语音")."""

    content: str = ""


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
    """Texts and pictures in the order they were written (100719 "图文混排")."""

    msg_item: Annotated[list[MixedItem], Meta(max_length=limits.MIXED_ITEMS)] = []


class Payload(_Part):
    """The payload of a message, under the name of its type (100719)."""

    text: Text | None = None
    image: Media | None = None
    mixed: Mixed | None = None
    voice: Text | None = None
    file: Media | None = None
    video: Media | None = None


class Quote(Payload):
    """A quoted message: the same shape, with its type beside it (100719 "引用")."""

    msgtype: Id = ""


class Message(Payload):
    """A message. The quote is read by itself, so that a strange one does not cost the message."""

    quote: Any = None


class CardEvent(_Part):
    """A click on a template card (101027). Its parameter table spells the keys differently; its samples are right."""

    card_type: str = ""
    event_key: str = ""
    task_id: str = ""


class FeedbackEvent(_Part):
    """A verdict on an answer (101027): 1 accurate, 2 inaccurate, 3 taken back. What was written with it is left out."""

    id: str = ""
    type: int = 0
    inaccurate_reason_list: list[int] = []


class EventBody(_Part):
    """An event: its details stand under the name of its type (101027)."""

    eventtype: Id = ""
    template_card_event: CardEvent | None = None
    feedback_event: FeedbackEvent | None = None


class EventMessage(_Part):
    """A callback of type `event` (101027)."""

    event: EventBody
