"""Malformed callbacks, and the sentences of their errors."""

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
    with pytest.raises(MalformedCallback, match="a {0} message carries no {0}".format(fields["msgtype"])):
        read_callback(json.dumps({"msgid": "m", **fields}).encode())


@pytest.mark.parametrize(("type_", "length"), [("text", 0), ("", 1), ("stream", 513)])
def test_an_empty_or_very_long_id_is_malformed(type_: str, length: int) -> None:
    with pytest.raises(MalformedCallback, match="msgid or msgtype"):
        read_callback(json.dumps({"msgid": "m" * length, "msgtype": type_, "text": {"content": "x"}}).encode())


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="not-json"),
        pytest.param(b'"hello"', id="a-text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep-objects"),
        pytest.param(b"{}", id="empty-object"),
        pytest.param(b'{"msgid":"m"}', id="no-type"),
        pytest.param(b'{"msgid":"m","msgtype":"text","text":{"content":["x"]}}', id="text-of-a-list"),
        pytest.param(b'{"msgid":"m","msgtype":"event"}', id="event-without-event"),
        pytest.param(b'{"msgid":"m","msgtype":"text","from":"alice","text":{"content":"x"}}', id="from-a-text"),
    ],
)
def test_the_error_for_invalid_json_does_not_contain_the_message(message: bytes) -> None:
    with pytest.raises(MalformedCallback, match="not JSON of the expected form") as raised:
        read_callback(message)
    assert "hello" not in str(raised.value)


PICTURE = {"msgtype": "image", "image": {"url": "https://example.com/a"}}


@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        pytest.param({"chatid": "c" * 512}, {"chatid": "c" * 513}, id="a-chat"),
        pytest.param({"from": {"userid": "u" * 512}}, {"from": {"userid": "u" * 513}}, id="a-sender"),
        pytest.param({"aibotid": "b" * 512}, {"aibotid": "b" * 513}, id="a-bot"),
        pytest.param({"response_url": "u" * 8192}, {"response_url": "u" * 8193}, id="a-response-url"),
        pytest.param(
            {"msgtype": "image", "image": {"url": "u" * 8192}},
            {"msgtype": "image", "image": {"url": "u" * 8193}},
            id="a-media-url",
        ),
        pytest.param(
            {"msgtype": "mixed", "mixed": {"msg_item": [PICTURE] * 1000}},
            {"msgtype": "mixed", "mixed": {"msg_item": [PICTURE] * 1001}},
            id="items",
        ),
    ],
)
def test_a_value_over_its_limit_is_malformed(at_the_limit: dict[str, object], beyond: dict[str, object]) -> None:
    ordinary: dict[str, object] = {"msgid": "m", "msgtype": "text", "text": {"content": "x"}}
    assert read_callback(json.dumps(ordinary | at_the_limit).encode()).message_id == "m"
    with pytest.raises(MalformedCallback, match="not JSON of the expected form"):
        read_callback(json.dumps(ordinary | beyond).encode())


def test_invalid_json_is_parsed_leniently_only_up_to_128_kib() -> None:
    """Lenient parsing of a megabyte would block the event loop for too long."""
    message = b'{"msgid":"m","msgtype":"text","text":{"content":"a\n%b"}}'
    content_bytes = 128 * 1024 - len(message % b"")
    assert read_callback(message % (b"b" * content_bytes)).message_id == "m"
    with pytest.raises(MalformedCallback, match="not JSON of the expected form"):
        read_callback(message % (b"b" * (content_bytes + 1)))
