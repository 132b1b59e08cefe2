"""What is no callback, and what the error says about it."""

import json

import pytest

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, read_callback


@pytest.mark.parametrize(
    "fields",
    [*({"msgtype": type_} for type_ in MESSAGE_TYPES), {"msgtype": "mixed", "mixed": {"msg_item": []}}],
    ids=str,
)
def test_a_known_type_without_its_payload_is_malformed(fields: dict[str, object]) -> None:
    """Nobody can say what the user meant, and the sentence says what is missing."""
    with pytest.raises(MalformedCallback, match="a {0} message carries no {0}".format(fields["msgtype"])):
        read_callback(json.dumps({"msgid": "m", **fields}).encode())


@pytest.mark.parametrize(("type_", "length"), [("text", 0), ("", 1), ("stream", 513)])
def test_an_id_that_cannot_be_used_is_named(type_: str, length: int) -> None:
    """It is what tells one callback from another."""
    with pytest.raises(MalformedCallback, match="msgid and msgtype"):
        read_callback(json.dumps({"msgid": "m" * length, "msgtype": type_, "text": {"content": "x"}}).encode())


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="not-json"),
        pytest.param(b'"hello"', id="a-text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep-objects"),
        pytest.param(b"{}", id="nothing"),
        pytest.param(b'{"msgid":"m"}', id="no-type"),
        pytest.param(b'{"msgid":"m","msgtype":"text","text":{"content":["x"]}}', id="text-of-a-list"),
        pytest.param(b'{"msgid":"m","msgtype":"event"}', id="event-without-event"),
        pytest.param(b'{"msgid":"m","msgtype":"text","from":"alice","text":{"content":"x"}}', id="from-a-text"),
    ],
)
def test_what_is_not_a_callback_is_malformed(message: bytes) -> None:
    """And the error says so without repeating what was sent."""
    with pytest.raises(MalformedCallback, match="not the JSON") as raised:
        read_callback(message)
    assert "hello" not in str(raised.value)
