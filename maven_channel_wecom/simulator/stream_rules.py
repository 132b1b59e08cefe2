"""Judges one frame of a streamed answer (101031), as a pure function. `bubbles` keeps what was shown before."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.protocol import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maven_channel_wecom.simulator.offences import OffenceKind

# Control characters, format characters such as the zero-width space, and separators.
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}


class _StreamFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class _StreamContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The object `stream` of 101031, without the pictures that only a last frame may have."""

    id: str
    finish: bool
    content: str
    feedback: _StreamFeedback | None = None


class _StreamReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="msgtype", tag="stream"):
    stream: _StreamContent


class AnsweredFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame as the bot answered it: the whole text so far. `feedback_id` is None if the frame has no feedback."""

    stream_id: str
    content: str
    finish: bool
    feedback_id: str | None = None

    def __repr__(self) -> str:
        return f"<AnsweredFrame of {len(self.content.encode('utf-8', 'replace'))} bytes, finish {self.finish}>"


def read_frame(opened: bytes) -> AnsweredFrame | None:
    """Return the frame in an opened answer, None if it is no `stream` as 101031 describes it."""
    # https://developer.work.weixin.qq.com/document/path/101031
    try:
        stream = msgspec.json.decode(opened, type=_StreamReply).stream
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    feedback_id = stream.feedback.id if stream.feedback else None
    return AnsweredFrame(stream_id=stream.id, content=stream.content, finish=stream.finish, feedback_id=feedback_id)


def is_blank(content: str) -> bool:
    """Return whether a text has no visible character."""
    return all(unicodedata.category(character) in _INVISIBLE for character in content)


def frame_offences(
    frame: AnsweredFrame, *, stream_id: str, shown: str = "", is_finished: bool = False, is_refresh: bool = False
) -> Iterator[OffenceKind]:
    """Yield what is wrong with a frame.

    Args:
        frame: the frame.
        stream_id: the id that was asked for, or that the first frame had.
        shown: the text that the bubble shows, empty if there is none yet.
        is_finished: whether an earlier frame finished the stream; `shown` is then final.
        is_refresh: whether the frame answers a refresh, so that it cannot ask for feedback.
    """
    if not stream_id or frame.stream_id != stream_id:
        yield "wrong_stream_id"
    # A lone surrogate cannot be encoded: it counts as one byte.
    if len(frame.content.encode("utf-8", "replace")) > limits.MARKDOWN_BYTES:
        yield "oversized"
    if is_finished:
        if not frame.finish or frame.content != shown:
            yield "changed_after_finish"
    elif is_blank(frame.content) and (frame.finish or not is_blank(shown)):
        yield "blank_frame"
    if frame.feedback_id is not None:
        size = len(frame.feedback_id.encode("utf-8", "replace"))
        if is_refresh or not 0 < size <= limits.FEEDBACK_ID_BYTES:
            yield "wrong_feedback_id"
