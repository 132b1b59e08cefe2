"""Judges the answer to a callback, sealed for it: an empty reply (101033), or a welcome in answer to `enter_chat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from maven_channel_wecom.errors import CallbackRejected
from maven_channel_wecom.protocol import envelope

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.callbacks import SealedRequest
    from maven_channel_wecom.simulator.offences import OffenceKind
    from maven_channel_wecom.simulator.recorded import AcknowledgementForm


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An envelope with exactly the four keys of 101033, which shows a numeric `timestamp`; most bots send a string."""

    encrypt: str
    msgsignature: str
    timestamp: int | str
    nonce: str


class Acknowledgement(msgspec.Struct, frozen=True):
    """The verdict on an answer with status 200. `opened` is its plaintext, None if it cannot be opened."""

    opened: bytes | None
    form: AcknowledgementForm | None = None
    offence: OffenceKind | None = None

    def __repr__(self) -> str:
        return f"<Acknowledgement {self.form or self.offence}>"


# Of the passive replies with content (101031) only the welcome is accepted: this bot answers by response_url.
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
    body: bytes, request: SealedRequest, receive_id: str, *, may_welcome: bool = False
) -> Acknowledgement:
    """Open the answer to `request` and judge it. `may_welcome`: the callback is an `enter_chat`."""
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
    form = _FORMS.get(opened.message)
    if may_welcome and (welcome_text(opened.message) or "").strip():
        form = "welcome"
    return Acknowledgement(opened.message, form=form, offence=None if form else "unexpected_answer")
