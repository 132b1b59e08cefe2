"""The answers to a callback that WeCom documents, and what is wrong with others."""

from __future__ import annotations

import os
import time

import msgspec
import pytest

from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.acknowledgements import Acknowledgement, read_acknowledgement, welcome_text
from maven_channel_wecom.simulator.callbacks import SealedRequest, SentKind, seal_callback
from tests.simulator.bots import frame
from tests.suite_watch import new_encoding_aes_key, new_token

RECEIVE_ID = "ww1"


@pytest.fixture
def request_() -> SealedRequest:
    credentials = Credentials(new_token(), decode_key(new_encoding_aes_key()))
    return seal_callback(b"{}", credentials, receive_id=RECEIVE_ID, timestamp=int(time.time()), random=os.urandom)


def sealed(request: SealedRequest, text: bytes, *, nonce: str = "", receive_id: str = RECEIVE_ID) -> bytes:
    answer = envelope.seal(
        request.credentials,
        text,
        receive_id=receive_id,
        timestamp=int(time.time()),
        nonce=nonce or request.nonce,
        random=os.urandom(16),
    )
    return msgspec.json.encode(answer)


@pytest.mark.parametrize(("text", "form"), [(b'"success"', "success"), (b"{}", "empty_object")])
def test_an_empty_reply_has_its_form(request_: SealedRequest, text: bytes, form: str) -> None:
    found = read_acknowledgement(sealed(request_, text), request_, RECEIVE_ID)
    assert (found.opened, found.form, found.offence) == (text, form, None)


def test_an_empty_body_is_an_empty_reply(request_: SealedRequest) -> None:
    assert read_acknowledgement(b"", request_, RECEIVE_ID) == Acknowledgement(b"", form="empty_body")


@pytest.mark.parametrize("body", [b"success", b"{}", b'{"encrypt":"x"}', b"\xff"])
def test_an_unsealed_answer_is_an_offence(request_: SealedRequest, body: bytes) -> None:
    assert read_acknowledgement(body, request_, RECEIVE_ID).offence == "unsealed_answer"


def test_another_nonce_receive_id_or_content_is_an_offence(request_: SealedRequest) -> None:
    found = [
        read_acknowledgement(sealed(request_, b'"success"', nonce="1234567890"), request_, RECEIVE_ID),
        read_acknowledgement(sealed(request_, b'"success"', receive_id="ww2"), request_, RECEIVE_ID),
        read_acknowledgement(sealed(request_, b'"hello"'), request_, RECEIVE_ID),
    ]
    assert [each.offence for each in found] == ["unsealed_answer", "wrong_receive_id", "unexpected_answer"]


WELCOME = b'{"msgtype":"text","text":{"content":"hello"}}'


def test_a_text_answers_an_entry_and_nothing_else(request_: SealedRequest) -> None:
    answer = sealed(request_, WELCOME)
    entry = read_acknowledgement(answer, request_, RECEIVE_ID, kind="enter_chat")
    message = read_acknowledgement(answer, request_, RECEIVE_ID)
    assert (entry.form, entry.offence) == ("welcome", None)
    assert (message.form, message.offence) == (None, "unexpected_answer")
    assert welcome_text(WELCOME) == "hello"


@pytest.mark.parametrize(
    "text",
    [
        b'{"msgtype":"text","text":{"content":" "}}',
        b'{"msgtype":"markdown","markdown":{"content":"hello"}}',
        b'{"msgtype":"text","text":{"content":"hello","more":1}}',
        b"[]",
    ],
    ids=["blank", "markdown", "more", "a list"],
)
def test_an_entry_answered_with_anything_else_is_an_offence(request_: SealedRequest, text: bytes) -> None:
    found = read_acknowledgement(sealed(request_, text), request_, RECEIVE_ID, kind="enter_chat")
    assert found.offence == "unexpected_answer"


@pytest.mark.parametrize(
    ("kind", "form", "offence"),
    [
        ("message", "stream", None),
        ("refresh", "stream", None),
        ("event", None, "streamed_event"),
        ("enter_chat", None, "streamed_event"),
    ],
)
def test_a_stream_answers_messages_and_refreshes_and_no_event(
    request_: SealedRequest, kind: SentKind, form: str | None, offence: str | None
) -> None:
    found = read_acknowledgement(sealed(request_, frame("s1", "hello")), request_, RECEIVE_ID, kind=kind)
    assert (found.form, found.offence) == (form, offence)
    assert (found.frame is not None) == (form == "stream")


def test_a_malformed_stream_is_an_offence(request_: SealedRequest) -> None:
    answer = sealed(request_, b'{"msgtype":"stream","stream":{"id":"s1"}}')
    assert read_acknowledgement(answer, request_, RECEIVE_ID).offence == "unexpected_answer"
