"""The JSON of each callback, compared with 100719 and 101027, and its sealing."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from maven_channel_wecom.protocol import envelope
from maven_channel_wecom.protocol.cipher import decode_key
from maven_channel_wecom.protocol.envelope import Credentials
from maven_channel_wecom.simulator.callbacks import Address, plaintext, read_head, seal_callback, seal_url_check
from maven_channel_wecom.simulator.messages import (
    CardClick,
    EnterChat,
    Feedback,
    File,
    Image,
    ImageById,
    Message,
    Mixed,
    Quotable,
    StreamRefresh,
    Text,
    Unknown,
    Video,
    Voice,
)
from tests.suite_watch import new_encoding_aes_key, new_token

SINGLE = Address(bot_id="aib1", user_id="alice")
GROUP = Address(bot_id="aib1", user_id="alice", group_id="wr1")
COMMON = {"msgid": "m1", "aibotid": "aib1", "chattype": "single", "from": {"userid": "alice"}, "response_url": "R"}


def read(
    message: Message, address: Address = SINGLE, *, url: str = "R", quote: Quotable | None = None
) -> dict[str, Any]:
    plain = plaintext(
        message,
        address,
        message_id="m1",
        response_url=url,
        now=1_800_000_000,
        store=lambda _content, name: f"http://store/{name}?sign=a%3Db",
        quote=quote,
    )
    return msgspec.json.decode(plain, type=dict[str, Any])


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (Text("hello"), {"msgtype": "text", "text": {"content": "hello"}}),
        (Voice("spoken"), {"msgtype": "voice", "voice": {"content": "spoken"}}),
        (Image(b"x", "a.png"), {"msgtype": "image", "image": {"url": "http://store/a.png?sign=a%3Db "}}),
        (File(b"x", "a.pdf"), {"msgtype": "file", "file": {"url": "http://store/a.pdf?sign=a%3Db "}}),
        (Video(b"x", "a.mp4"), {"msgtype": "video", "video": {"url": "http://store/a.mp4?sign=a%3Db "}}),
        (ImageById("id1"), {"msgtype": "image", "image": {"media_id": "id1"}}),
        (
            Mixed((Text("look"), Image(b"x", "a.png"))),
            {
                "msgtype": "mixed",
                "mixed": {
                    "msg_item": [
                        {"msgtype": "text", "text": {"content": "look"}},
                        {"msgtype": "image", "image": {"url": "http://store/a.png?sign=a%3Db "}},
                    ]
                },
            },
        ),
        (Unknown("location", {"x": 1}), {"msgtype": "location", "location": {"x": 1}}),
    ],
    ids=["text", "voice", "image", "file", "video", "image_by_id", "mixed", "unknown"],
)
def test_a_message_has_the_documented_fields(message: Message, payload: dict[str, Any]) -> None:
    """Media URLs end with the space that they have in WeCom's samples."""
    assert read(message) == COMMON | payload


def test_a_group_message_names_the_group_and_keeps_the_mention() -> None:
    found = read(Text("@Maven hi"), GROUP)
    assert (found["chattype"], found["chatid"], found["text"]["content"]) == ("group", "wr1", "@Maven hi")


@pytest.mark.parametrize("message", [Voice("x"), Image(b""), File(b"", "f"), Video(b""), EnterChat()])
def test_messages_of_single_chats_only_cannot_be_sent_from_a_group(message: Message) -> None:
    with pytest.raises(ValueError, match=f"no {type(message).__name__} from a group"):
        read(message, GROUP)


def test_a_quote_has_the_shape_of_a_message() -> None:
    found = read(Text("what is this"), GROUP, quote=Image(b"x", "q.png"))
    assert found["quote"] == {"msgtype": "image", "image": {"url": "http://store/q.png?sign=a%3Db "}}
    assert found["msgtype"] == "text"


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (EnterChat(), {"eventtype": "enter_chat"}),
        (
            CardClick("yes", "task1"),
            {
                "eventtype": "template_card_event",
                "template_card_event": {"card_type": "button_interaction", "event_key": "yes", "task_id": "task1"},
            },
        ),
        (Feedback("f1", 1), {"eventtype": "feedback_event", "feedback_event": {"id": "f1", "type": 1}}),
        (
            Feedback("f1", 2, "bad", (1, 3)),
            {
                "eventtype": "feedback_event",
                "feedback_event": {"id": "f1", "type": 2, "content": "bad", "inaccurate_reason_list": [1, 3]},
            },
        ),
    ],
    ids=["enter_chat", "card_click", "praise", "complaint"],
)
def test_an_event_has_its_time_and_its_object(message: Message, event: dict[str, Any]) -> None:
    found = read(message)
    assert (found["msgtype"], found["create_time"], found["event"]) == ("event", 1_800_000_000, event)


def test_enter_chat_has_no_chat_fields() -> None:
    """WeCom's sample of this event has neither chattype nor chatid, and the event has no response_url."""
    assert {"chattype", "chatid", "response_url"}.isdisjoint(read(EnterChat(), url=""))


def test_a_stream_refresh_names_its_stream() -> None:
    assert read(StreamRefresh("s1"), url="")["stream"] == {"id": "s1"}


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(new_token(), decode_key(new_encoding_aes_key()))


def test_a_sealed_callback_opens_to_its_plaintext(credentials: Credentials) -> None:
    request = seal_callback(b'{"a":1}', credentials, receive_id="ww1", timestamp=1_800_000_000, random=os.urandom)
    query = envelope.read_query({key: values[0] for key, values in parse_qs(request.query).items()})
    opened = envelope.open_envelope([credentials], query, envelope.read_body(request.body), receive_id="ww1")
    assert opened.message == b'{"a":1}'


def test_sealing_twice_gives_another_nonce_and_ciphertext(credentials: Credentials) -> None:
    first, second = (
        seal_callback(b"{}", credentials, receive_id="", timestamp=1_800_000_000, random=os.urandom) for _ in range(2)
    )
    assert first.nonce != second.nonce
    assert first.body != second.body


def test_the_echo_of_a_url_check_is_percent_encoded(credentials: Credentials) -> None:
    for _ in range(20):
        request = seal_url_check(b"1" * 40, credentials, receive_id="", timestamp=1_800_000_000, random=os.urandom)
        echo = request.query.partition("echostr=")[2]
        assert not set("+/=") & set(echo)


@pytest.mark.parametrize(
    "value", [Text("CANARY"), Voice("CANARY"), File(b"CANARY", "CANARY"), Mixed((Text("CANARY"),))], ids=repr
)
def test_a_repr_does_not_show_the_content(value: Message) -> None:
    assert "CANARY" not in repr(value)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        (b'{"msgtype":"event","event":{"eventtype":"enter_chat"}}', "enter_chat"),
        (b'{"msgtype":"event","event":{"eventtype":"feedback_event"}}', "event"),
        (b'{"msgtype":"text","text":{"content":"enter_chat"}}', "message"),
        (b'{"msgtype":"stream","stream":{"id":"s1"}}', "refresh"),
        (b"\xff", "message"),
        (b"[]", "message"),
    ],
)
def test_the_kind_of_any_plaintext_is_known(plain: bytes, expected: str) -> None:
    assert read_head(plain).kind == expected


def test_a_head_names_the_sender_the_group_and_the_stream() -> None:
    head = read_head(b'{"msgtype":"stream","chatid":"wr1","from":{"userid":"u1"},"stream":{"id":"s1"}}')
    assert (head.sender.userid, head.chatid, head.stream.id) == ("u1", "wr1", "s1")
