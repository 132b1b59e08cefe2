"""What a user of the simulator can have WeCom send, as values. Their JSON is in `callbacks`."""

from typing import Any

import msgspec


class _Quiet(msgspec.Struct, frozen=True):
    """Shows its type only: the rest is what a user wrote or sent."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Text(_Quiet, frozen=True):
    """Text. In a group, `content` includes the mention, as a user types it."""

    content: str


class Voice(_Quiet, frozen=True):
    """A voice message, which WeCom sends as its transcript."""

    content: str


class Image(_Quiet, frozen=True):
    """A picture, stored encrypted; `name` appears only in the header of the download."""

    content: bytes
    name: str = "image.png"


class File(_Quiet, frozen=True):
    """A file, stored encrypted."""

    content: bytes
    name: str


class Video(_Quiet, frozen=True):
    """A video, stored encrypted."""

    content: bytes
    name: str = "video.mp4"


class ImageById(_Quiet, frozen=True):
    """A picture with a `media_id` and no URL. UNDOCUMENTED for AI bots: the self-built app's callbacks have one."""

    media_id: str


class Mixed(_Quiet, frozen=True):
    """Text and pictures in one message."""

    parts: tuple[Text | Image, ...]


class Unknown(_Quiet, frozen=True):
    """A message of a type nobody has documented, `payload` under the name of its type."""

    type: str
    payload: dict[str, Any] = {}


class StreamRefresh(_Quiet, frozen=True):
    """WeCom asking for the next piece of a streamed answer (100719)."""

    stream_id: str


class EnterChat(_Quiet, frozen=True):
    """A user's first entry of the day into the single chat (101027)."""


class CardClick(_Quiet, frozen=True):
    """A button of a template card (101027). `card_type` such as `button_interaction`."""

    event_key: str
    task_id: str
    card_type: str = "button_interaction"


class Feedback(_Quiet, frozen=True):
    """A user's rating of a reply (101027). `type` 1 accurate, 2 inaccurate, 3 taken back."""

    feedback_id: str
    type: int
    content: str = ""
    inaccurate_reasons: tuple[int, ...] = ()


Quotable = Text | Voice | Image | File | Video | Mixed
Event = EnterChat | CardClick | Feedback
Message = Quotable | ImageById | Unknown | StreamRefresh | Event
