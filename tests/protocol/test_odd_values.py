"""Odd values in every field of a callback: a value that does not fit its field is absent."""

import json

import msgspec
import pytest

from maven_channel_wecom.policy.admission import AdmissionRules, refusal
from maven_channel_wecom.protocol import schema
from maven_channel_wecom.protocol.callback import decode, read_callback

STRUCTS = [
    struct
    for struct in vars(schema).values()
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and msgspec.structs.fields(struct)
]
ODD_VALUES: list[object] = [None, "", 1.5, True, -(10**30), "x" * 9_000, [], {}, [None, 1, "x", [], {}], {"userid": 5}]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda odd: repr(odd)[:15])
@pytest.mark.parametrize("struct", STRUCTS)
def test_no_value_of_any_field_makes_an_object_unreadable(struct: type[msgspec.Struct], odd: object) -> None:
    fields = msgspec.structs.fields(struct)
    for field in fields:
        decoded = decode(json.dumps({field.encode_name: odd}), struct)
        others = {other.name: getattr(decoded, other.name) for other in fields if other.name != field.name}
        assert others == {name: getattr(struct(), name) for name in others}


@pytest.mark.parametrize(
    ("struct", "message", "expected"),
    [
        pytest.param(schema.Header, {"create_time": "1700000000"}, {"create_time": 1700000000}, id="number-as-text"),
        pytest.param(schema.Header, {"create_time": 10**10}, {"create_time": None}, id="milliseconds"),
        pytest.param(schema.Header, {"from": None, "chatid": "c"}, {"chatid": "c"}, id="no-sender"),
        pytest.param(schema.Payload, {"image": "", "text": {"content": "x"}}, {"image": None}, id="foreign-payload"),
        pytest.param(
            schema.Header, {"msgid": 4561255354251345929}, {"msgid": "4561255354251345929"}, id="number-as-id"
        ),
        pytest.param(
            schema.Header, {"from": {"userid": 7}}, {"sender": schema.From(userid="7")}, id="number-as-sender"
        ),
        pytest.param(
            schema.Header,
            {"msgid": 1.5, "chatid": True, "response_url": 5},
            {"msgid": "", "chatid": "", "response_url": ""},
            id="no-id",
        ),
        pytest.param(schema.Media, {"url": "u", "aeskey": None}, {"url": "u", "aeskey": ""}, id="no-key"),
    ],
)
def test_what_fits_is_read_beside_what_does_not(
    struct: type[msgspec.Struct], message: dict[str, object], expected: dict[str, object]
) -> None:
    decoded = decode(json.dumps(message), struct)
    assert {name: getattr(decoded, name) for name in expected} == expected


@pytest.mark.parametrize("message", ["[]", "null", "5", '"x"'])
def test_what_is_not_an_object_is_not_decoded(message: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(message, schema.Header)


def test_what_is_not_json_is_not_decoded() -> None:
    with pytest.raises(msgspec.DecodeError) as raised:
        decode('{"chatid":null,"msgid":"\\ud83d"}', schema.Header)
    assert not isinstance(raised.value, msgspec.ValidationError)


@pytest.mark.parametrize("kind", [None, "", "GROUP", "Single", 5, "channel", ["single"]], ids=repr)
def test_a_chat_of_an_unclear_kind_is_a_group_if_it_has_an_id(kind: object) -> None:
    """Otherwise what is written in any chat would reach the private session of its sender, past the allow-list."""
    message = {"msgid": "m", "msgtype": "text", "from": {"userid": "alice"}, "chattype": kind, "chatid": "wr1"}
    callback = read_callback(json.dumps(message).encode())
    assert (callback.is_group, callback.chat_id) == (True, "wr1")
    assert refusal(callback, AdmissionRules(groups=frozenset({"wr2"}))) == "group"


@pytest.mark.parametrize(
    ("kind", "refused"),
    [("single", None), ("", None), (None, None), ("group", "no_group"), ("GROUP", "no_group"), ("channel", "no_group")],
)
def test_without_an_id_only_a_chat_of_no_other_kind_is_single(kind: object, refused: str | None) -> None:
    """Some events have no kind of chat (101027)."""
    message = {"msgid": "m", "msgtype": "text", "from": {"userid": "alice"}, "chattype": kind}
    callback = read_callback(json.dumps(message).encode())
    assert refusal(callback, AdmissionRules()) == refused
    assert callback.chat_id == ("" if refused else "alice")


def test_the_id_of_a_single_chat_does_not_make_it_a_group() -> None:
    message = {"msgid": "m", "msgtype": "text", "from": {"userid": "alice"}, "chattype": "single", "chatid": "wr1"}
    callback = read_callback(json.dumps(message).encode())
    assert (callback.is_group, callback.chat_id) == (False, "alice")
