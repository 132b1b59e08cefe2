"""The messages and events that the simulated WeCom can send. `callbacks` builds their JSON."""

from typing import Any

import msgspec


class _RedactedRepr(msgspec.Struct, frozen=True):
    """A value whose repr shows only its type, because its fields hold what a user wrote or sent."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Text(_RedactedRepr, frozen=True):
    """A text. In a group, `content` includes the mention as the user types it."""

    content: str


class Voice(_RedactedRepr, frozen=True):
    """A voice message, which WeCom delivers as its transcript."""

    content: str


class Image(_RedactedRepr, frozen=True):
    """A picture, stored encrypted. `name` appears only in a header of the download."""

    content: bytes
    name: str = "image.png"


class File(_RedactedRepr, frozen=True):
    """A file, stored encrypted."""

    content: bytes
    name: str


class Video(_RedactedRepr, frozen=True):
    """A video, stored encrypted."""

    content: bytes
    name: str = "video.mp4"


class ImageById(_RedactedRepr, frozen=True):
    """A picture with a `media_id` and no URL. UNDOCUMENTED for AI bots: the self-built app's callbacks have one."""

    media_id: str


class Mixed(_RedactedRepr, frozen=True):
    """Text and pictures in one message."""

    parts: tuple[Text | Image, ...]


class Unknown(_RedactedRepr, frozen=True):
    """A message of an undocumented type. Its JSON holds `payload` under the name of the type."""

    type: str
    payload: dict[str, Any] = {}


class StreamRefresh(_RedactedRepr, frozen=True):
    """WeCom's request for the next part of a streamed answer (100719)."""

    stream_id: str


class EnterChat(_RedactedRepr, frozen=True):
    """A user's first entry of the day into the single chat (101027)."""


class CardClick(_RedactedRepr, frozen=True):
    """A click on a template card (101027)."""

    event_key: str
    task_id: str
    card_type: str = "button_interaction"


class Feedback(_RedactedRepr, frozen=True):
    """A user's rating of a reply (101027). `type`: 1 accurate, 2 inaccurate, 3 withdrawn."""

    feedback_id: str
    type: int
    content: str = ""
    inaccurate_reasons: tuple[int, ...] = ()


Quotable = Text | Voice | Image | File | Video | Mixed
Event = EnterChat | CardClick | Feedback
Message = Quotable | ImageById | Unknown | StreamRefresh | Event
