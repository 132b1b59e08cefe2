"""Judges the answer to a callback, sealed for it.

It is an empty reply (101033), the welcome of a person who enters the chat, or a frame of a streamed answer (101031).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.errors import CallbackRejected
from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.simulator.stream_rules import AnsweredFrame, read_frame

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.callbacks import SealedRequest, SentKind
    from maven_channel_wecom.simulator.offences import OffenceKind
    from maven_channel_wecom.simulator.recorded import AcknowledgementForm


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An envelope with exactly the four keys of 101033, which shows a numeric `timestamp`; most bots send a string."""

    encrypt: str
    msgsignature: str
    timestamp: int | str
    nonce: str


class Acknowledgement(msgspec.Struct, frozen=True):
    """The verdict on an answer with status 200.

    `opened` is its plaintext, None if it cannot be opened. `frame` is what an answer of the form `stream` shows.
    """

    opened: bytes | None
    form: AcknowledgementForm | None = None
    offence: OffenceKind | None = None
    frame: AnsweredFrame | None = None

    def __repr__(self) -> str:
        return f"<Acknowledgement {self.form or self.offence}>"


_FORMS: dict[bytes, AcknowledgementForm] = {b'"success"': "success", b"{}": "empty_object"}


class _WelcomeContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: str


class _Welcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="msgtype", tag="text"):
    """The passive `text` of 101031, which only `enter_chat` may be answered with."""

    text: _WelcomeContent


def welcome_text(opened: bytes) -> str | None:
    """Return the text of a welcome, None if an opened answer is none."""
    try:
        return msgspec.json.decode(opened, type=_Welcome).text.content
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def read_acknowledgement(
    body: bytes, request: SealedRequest, receive_id: str, *, kind: SentKind = "message"
) -> Acknowledgement:
    """Open the answer to `request`, a callback of a kind, and judge it."""
    # https://developer.work.weixin.qq.com/document/path/101033
    if not body:
        return Acknowledgement(b"", form="empty_body")
    try:
        sealed = msgspec.json.decode(body, type=_Sealed)
        query = envelope.SignedQuery(sealed.msgsignature, str(sealed.timestamp), sealed.nonce)
        opened = envelope.open_envelope([request.credentials], query, sealed.encrypt)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, CallbackRejected):
        return Acknowledgement(None, offence="unsealed_answer")
    if sealed.nonce != request.nonce:
        return Acknowledgement(opened.message, offence="unsealed_answer")
    if opened.receive_id != receive_id:
        return Acknowledgement(opened.message, offence="wrong_receive_id")
    return _judge(opened.message, kind)


def _judge(opened: bytes, kind: SentKind) -> Acknowledgement:
    if form := _FORMS.get(opened):
        return Acknowledgement(opened, form=form)
    if kind == "enter_chat" and (welcome_text(opened) or "").strip():
        return Acknowledgement(opened, form="welcome")
    frame = read_frame(opened)
    if frame is None:
        return Acknowledgement(opened, offence="unexpected_answer")
    # 101031: only messages and refreshes are answered with streams.
    if kind in {"enter_chat", "event"}:
        return Acknowledgement(opened, offence="streamed_event")
    return Acknowledgement(opened, form="stream", frame=frame)
