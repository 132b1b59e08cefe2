"""Malformed callbacks, payloads that cannot be read, and values over their limits."""

import json

import msgspec
import pytest

from maven_channel_wecom.errors import MalformedCallback
from maven_channel_wecom.protocol.callback import MESSAGE_TYPES, UnknownItem, read_callback


@pytest.mark.parametrize(
    "fields",
    [
        *({"msgtype": type_} for type_ in MESSAGE_TYPES),
        *({"msgtype": type_, type_: None} for type_ in MESSAGE_TYPES),
        *({"msgtype": type_, type_: "x"} for type_ in MESSAGE_TYPES),
        {"msgtype": "text", "text": {}},
        {"msgtype": "text", "text": {"content": ["x"]}},
        {"msgtype": "voice", "voice": {"content": None}},
        {"msgtype": "mixed", "mixed": {"msg_item": []}},
        {"msgtype": "mixed", "mixed": {"msg_item": [None, "x"]}},
    ],
    ids=str,
)
def test_a_known_type_without_a_readable_payload_is_an_unknown_item(fields: dict[str, object]) -> None:
    """The agent is told of it, and the user gets an answer."""
    callback = read_callback(json.dumps({"msgid": "m", **fields}).encode())
    assert callback.items == (UnknownItem(str(fields["msgtype"])),)


@pytest.mark.parametrize("odd", [None, 1.5, True, [], {}, "", "x" * 513, 10**600], ids=lambda odd: repr(odd)[:10])
@pytest.mark.parametrize("name", ["msgid", "msgtype"])
def test_only_the_id_and_the_type_must_be_texts_or_whole_numbers(name: str, odd: object) -> None:
    message = {"msgid": "m", "msgtype": "text", "text": {"content": "x"}, name: odd}
    with pytest.raises(MalformedCallback, match="msgid or msgtype"):
        read_callback(json.dumps(message).encode())


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="not-json"),
        pytest.param(b'"hello"', id="a-text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep-objects"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"msgid":"m","msgtype":"text","chatid":null,"text":{"content":"hello"', id="cut-off"),
    ],
)
def test_the_error_for_invalid_json_does_not_contain_the_message(message: bytes) -> None:
    with pytest.raises(MalformedCallback, match="not a JSON object") as raised:
        read_callback(message)
    assert "hello" not in str(raised.value)


GROUP: dict[str, object] = {"chattype": "group"}
PICTURE = {"msgtype": "image", "image": {"url": "https://example.com/a"}}


@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        pytest.param(GROUP | {"chatid": "x" * 512}, GROUP | {"chatid": "x" * 513}, id="a-chat"),
        pytest.param({"from": {"userid": "x" * 512}}, {"from": {"userid": "x" * 513}}, id="a-sender"),
        pytest.param({"aibotid": "x" * 512}, {"aibotid": "x" * 513}, id="a-bot"),
        pytest.param({"response_url": "x" * 8192}, {"response_url": "x" * 8193}, id="a-response-url"),
        pytest.param(
            {"msgtype": "image", "image": {"url": "x" * 8192}},
            {"msgtype": "image", "image": {"url": "x" * 8193}},
            id="a-media-url",
        ),
    ],
)
def test_a_value_over_its_limit_is_absent(at_the_limit: dict[str, object], beyond: dict[str, object]) -> None:
    ordinary: dict[str, object] = {"msgid": "m", "msgtype": "text", "text": {"content": "x"}}
    absent = read_callback(json.dumps(ordinary | beyond).encode())
    assert read_callback(json.dumps(ordinary | at_the_limit).encode()) != absent
    assert "xxxxx" not in msgspec.json.encode(absent).decode()


def test_of_a_thousand_and_one_items_the_first_thousand_are_read() -> None:
    message = {"msgid": "m", "msgtype": "mixed", "mixed": {"msg_item": [PICTURE] * 1001}}
    assert len(read_callback(json.dumps(message).encode()).items) == 1000


def test_invalid_json_is_parsed_leniently_only_up_to_128_kib() -> None:
    """Lenient parsing of a megabyte would block the event loop for too long."""
    message = b'{"msgid":"m","msgtype":"text","text":{"content":"a\n%b"}}'
    content_bytes = 128 * 1024 - len(message % b"")
    assert read_callback(message % (b"b" * content_bytes)).message_id == "m"
    with pytest.raises(MalformedCallback, match="not a JSON object"):
        read_callback(message % (b"b" * (content_bytes + 1)))
