"""Reads what a person wrote in the page, and makes the message of it that WeCom would send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from maven_channel_wecom.playground.sample_picture import sample_picture
from maven_channel_wecom.simulator.messages import File, Image, Mixed, Text, Voice

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import Written

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
"""Maximum size of a picture or file. WeCom itself allows more, and the channel fetches no more."""

SAMPLE_NAME: Final = "sample.png"

_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_WEBP: Final = (b"RIFF", b"WEBP")


class UnsendableError(Exception):
    """The message cannot be sent. The text is the name of the label that says why."""


class WrittenForm(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the page's form.

    `kind` is `text`, `voice`, `picture`, `file` or `sample`, for a picture that is drawn here.
    """

    kind: str = "text"
    text: str = ""
    name: str = ""
    content: bytes = b""

    def __repr__(self) -> str:
        return f"<WrittenForm {self.kind}>"


def picture_type(content: bytes) -> str | None:
    """Return the media type of a picture that WeCom sends, None if it is none."""
    if (content[:4], content[8:12]) == _WEBP:
        return "image/webp"
    return next((type_ for signature, type_ in _SIGNATURES.items() if content.startswith(signature)), None)


def to_message(form: WrittenForm, *, in_group: bool, bot: str) -> Written:
    """Return the message that WeCom sends. In a group it begins with a mention of the bot.

    Raises:
        UnsendableError: there is nothing to send, or WeCom does not send it.
    """
    text = form.text.strip()
    if len(form.content) > MAX_FILE_BYTES:
        raise UnsendableError("problem_large")  # noqa: EM101 - the name of a label
    # 100719: groups send texts and mixed messages.
    if in_group and form.kind in {"voice", "file"}:
        raise UnsendableError("problem_group")  # noqa: EM101 - the name of a label
    if in_group and not text.startswith(f"@{bot}"):
        text = f"@{bot} {text}".rstrip()
    match form.kind:
        case "picture" | "sample":
            content = sample_picture() if form.kind == "sample" else form.content
            if picture_type(content) is None:
                raise UnsendableError("problem_picture")  # noqa: EM101 - the name of a label
            image = Image(content, form.name or SAMPLE_NAME)
            return Mixed((Text(text), image)) if text else image
        case "file":
            return File(form.content, form.name or "file")
        case "voice" if text:
            return Voice(text)
        case "text" if form.text.strip():
            return Text(text)
    raise UnsendableError("problem_empty")  # noqa: EM101 - the name of a label
