"""Parsing of well-formed callbacks. Malformed ones are in test_malformed_callback."""

import json
from typing import Any

import pytest

from maven_channel_wecom.protocol import schema
from maven_channel_wecom.protocol.callback import (
    Callback,
    MediaItem,
    Rating,
    TextItem,
    UnknownItem,
    read_callback,
)

HEADER: dict[str, Any] = {
    "msgid": "m1",
    "aibotid": "aib1",
    "chattype": "group",
    "chatid": "wr1",
    "from": {"userid": "alice"},
    "response_url": "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=c1 ",
}
URL = "https://ww-aibot-img-1258476243.cos.ap-guangzhou.myqcloud.com/a?sign=x%3D%26y"


def read(**fields: object) -> Callback:
    return read_callback(json.dumps({**HEADER, **fields}, ensure_ascii=False).encode())


def test_a_text_callback_is_read_with_all_its_fields() -> None:
    """The trailing space of the URL is removed."""
    callback = read(msgtype="text", text={"content": "@Maven hi"}, create_time=1700000000)
    assert callback.message_id == "m1"
    assert (callback.bot_id, callback.sender_id, callback.chat_id) == ("aib1", "alice", "wr1")
    assert callback.is_group
    assert callback.response_url.endswith("response_code=c1")
    assert callback.created_at == 1700000000
    assert callback.items == (TextItem("@Maven hi"),)


def test_only_the_id_and_the_type_are_required() -> None:
    callback = read_callback(b'{"msgid":"m","msgtype":"hologram"}')
    assert callback == Callback(
        message_id="m",
        type="hologram",
        bot_id="",
        is_group=False,
        chat_id="",
        sender_id="",
        response_url="",
        created_at=None,
        items=(),
        quoted_items=(),
        event=None,
    )
    assert callback == Callback(message_id="m", type="hologram")


def test_in_a_single_chat_the_chat_id_is_the_sender_id() -> None:
    callback = read(msgtype="text", text={"content": "hi"}, chattype="single", chatid="")
    assert not callback.is_group
    assert callback.chat_id == "alice"


@pytest.mark.parametrize(
    ("fields", "items"),
    [
        pytest.param({"msgtype": "text", "text": {"content": ""}}, (TextItem(""),), id="text-of-nothing"),
        pytest.param({"msgtype": "mixed", "mixed": {"msg_item": [{}]}}, (UnknownItem(""),), id="mixed-without-types"),
        pytest.param({"msgtype": "voice", "voice": {"content": "spoken"}}, (TextItem("spoken"),), id="voice"),
        pytest.param(
            {"msgtype": "image", "image": {"url": URL + " "}}, (MediaItem(kind="image", url=URL),), id="image"
        ),
        pytest.param(
            {"msgtype": "image", "image": {"media_id": "M1"}},
            (MediaItem(kind="image", url="", media_id="M1"),),
            id="image-by-id",
        ),
        pytest.param(
            {"msgtype": "file", "file": {"url": URL, "aeskey": "k"}},
            (MediaItem(kind="file", url=URL, aes_key="k"),),
            id="file-with-its-own-key",
        ),
        pytest.param({"msgtype": "video", "video": {"url": URL}}, (MediaItem(kind="video", url=URL),), id="video"),
        pytest.param(
            {
                "msgtype": "mixed",
                "mixed": {
                    "msg_item": [
                        {"msgtype": "text", "text": {"content": "one"}},
                        {"msgtype": "image", "image": {"url": URL}},
                        {"msgtype": "text", "text": {"content": "two"}},
                        {"msgtype": "hologram"},
                    ]
                },
            },
            (TextItem("one"), MediaItem(kind="image", url=URL), TextItem("two"), UnknownItem("hologram")),
            id="mixed-in-order",
        ),
        pytest.param(
            {"msgtype": "mixed", "mixed": {"msg_item": [{"msgtype": "text"}, {"msgtype": "image"}]}},
            (UnknownItem("text"), UnknownItem("image")),
            id="mixed-of-items-without-payload",
        ),
        pytest.param(
            {
                "msgtype": "mixed",
                "mixed": {
                    "msg_item": [
                        {"msgtype": "caption", "text": {"content": "x"}},
                        {"msgtype": "thumbnail", "image": {"url": URL}},
                    ]
                },
            },
            (UnknownItem("caption"), UnknownItem("thumbnail")),
            id="mixed-of-new-types-with-known-payloads",
        ),
    ],
)
def test_each_message_type_is_read_as_its_items_in_order(fields: dict[str, object], items: tuple[object, ...]) -> None:
    assert read(**fields).items == items


@pytest.mark.parametrize(
    ("quote", "items"),
    [
        pytest.param({"msgtype": "text", "text": {"content": "earlier"}}, (TextItem("earlier"),), id="text"),
        pytest.param({"msgtype": "voice", "voice": {"content": "said"}}, (TextItem("said"),), id="voice"),
        pytest.param({"msgtype": "image", "image": {"url": URL}}, (MediaItem(kind="image", url=URL),), id="image"),
        pytest.param({"msgtype": "file", "file": {"url": URL}}, (MediaItem(kind="file", url=URL),), id="file"),
        pytest.param({"msgtype": "hologram"}, (UnknownItem("hologram"),), id="unknown-type"),
        pytest.param(
            {"msgtype": "hologram", "video": {"url": URL}}, (UnknownItem("hologram"),), id="unknown-type-with-a-video"
        ),
        pytest.param({"msgtype": "image"}, (UnknownItem("image"),), id="without-its-payload"),
        pytest.param({}, (UnknownItem(""),), id="without-a-type"),
        pytest.param({"msgtype": []}, (UnknownItem(""),), id="type-of-another-form"),
        pytest.param(
            {"msgtype": "text", "text": {"content": "earlier"}, "image": ""},
            (TextItem("earlier"),),
            id="with-an-odd-payload-of-another-type",
        ),
        pytest.param("text", (UnknownItem("quote"),), id="not-an-object"),
        pytest.param(None, (), id="null"),
    ],
)
def test_a_quote_is_read_separately_and_may_be_unreadable(quote: object, items: tuple[object, ...]) -> None:
    callback = read(msgtype="text", text={"content": "and this?"}, quote=quote)
    assert callback.quoted_items == items
    assert callback.items == (TextItem("and this?"),)


TEXT: dict[str, object] = {"msgtype": "text", "text": {"content": "x"}}
FEEDBACK = {"id": "f", "type": 2, "inaccurate_reason_list": [2]}
ODD_VALUES: list[object] = [None, "", 1.5, True, 10**30, -1, [], {}, [None], "x" * 9_000]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda odd: repr(odd)[:10])
@pytest.mark.parametrize(
    "path",
    [
        *("aibotid", "chattype", "chatid", "from", "from/userid", "from/corpid", "response_url", "create_time"),
        *("quote", "image", "mixed", "voice", "file", "video", "event", "stream"),
    ],
)
def test_an_odd_value_beside_a_text_costs_no_text(path: str, odd: object) -> None:
    callback = read_callback(with_value({"msgid": "m1", **TEXT}, path, odd))
    assert callback.items == (TextItem("x"),)
    assert callback.created_at in {None, 1}


@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda odd: repr(odd)[:10])
@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        pytest.param(TEXT, ["text", "text/content"], id="text"),
        pytest.param({"msgtype": "voice", "voice": {"content": "x"}}, ["voice", "voice/content"], id="voice"),
        pytest.param(
            {"msgtype": "image", "image": {"url": URL}},
            ["image", "image/url", "image/aeskey", "image/media_id"],
            id="image",
        ),
        pytest.param({"msgtype": "file", "file": {"url": URL}}, ["file", "file/url", "file/aeskey"], id="file"),
        pytest.param({"msgtype": "video", "video": {"url": URL}}, ["video", "video/url"], id="video"),
        pytest.param({"msgtype": "mixed", "mixed": {"msg_item": [TEXT]}}, ["mixed", "mixed/msg_item"], id="mixed"),
    ],
)
def test_an_odd_payload_is_an_item_that_the_agent_is_told_of(
    fields: dict[str, object], paths: list[str], odd: object
) -> None:
    for path in paths:
        (item,) = read_callback(with_value({"msgid": "m1", **fields}, path, odd)).items
        assert isinstance(item, TextItem | MediaItem | UnknownItem)


@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda odd: repr(odd)[:10])
@pytest.mark.parametrize(
    ("type_", "path"),
    [
        pytest.param("feedback_event", path, id=path)
        for path in (
            *("event", "event/eventtype", "event/feedback_event", "event/feedback_event/id"),
            *("event/feedback_event/type", "event/feedback_event/inaccurate_reason_list"),
        )
    ]
    + [
        pytest.param("template_card_event", f"event/template_card_event{path}", id=f"card{path}")
        for path in ("", "/card_type", "/event_key", "/task_id")
    ],
)
def test_an_odd_value_in_an_event_leaves_an_event(type_: str, path: str, odd: object) -> None:
    details = FEEDBACK if type_ == "feedback_event" else {"card_type": "c", "event_key": "k", "task_id": "t"}
    message = {"msgid": "m1", "msgtype": "event", "event": {"eventtype": type_, type_: details}}
    assert read_callback(with_value(message, path, odd)).event is not None


def test_the_odd_items_of_a_mixed_message_are_left_out() -> None:
    picture = {"msgtype": "image", "image": {"url": URL}}
    items = [None, 5, TEXT | {"image": ""}, picture | {"text": []}, {"msgtype": "text", "text": None}]
    assert read(msgtype="mixed", mixed={"msg_item": items}).items == (
        TextItem("x"),
        MediaItem(kind="image", url=URL),
        UnknownItem("text"),
    )


def test_a_lone_surrogate_beside_an_odd_value_becomes_a_replacement_character() -> None:
    message = (
        rb'{"msgid":"m","msgtype":"text","chatid":null,"text":{"content":"a\ud83d"},'
        rb'"quote":{"msgtype":"text","text":{"content":"b\ud83d"}}}'
    )
    callback = read_callback(message)
    assert callback.items == (TextItem("a\ufffd"),)
    assert callback.quoted_items == (TextItem("b\ufffd"),)


def with_value(message: dict[str, Any], path: str, value: object) -> bytes:
    """Return the JSON of a message in which the field under `path` has another value."""
    changed = json.loads(json.dumps(message))
    *parents, name = path.split("/")
    place = changed
    for parent in parents:
        place = place.setdefault(parent, {})
    place[name] = value
    return json.dumps(changed).encode()


def test_the_payload_of_an_unknown_type_is_not_read() -> None:
    callback = read(msgtype="hologram", text=5, hologram=[1], quote=7)
    assert (callback.type, callback.items, callback.quoted_items, callback.event) == ("hologram", (), (), None)


def test_of_a_stream_refresh_only_the_header_is_read() -> None:
    callback = read(msgtype="stream", stream={"id": "s1"}, response_url="")
    assert (callback.type, callback.response_url, callback.items) == ("stream", "", ())


@pytest.mark.parametrize(
    ("event", "type_", "details"),
    [
        pytest.param({"eventtype": "enter_chat"}, "enter_chat", {}, id="enter"),
        pytest.param(
            {
                "eventtype": "template_card_event",
                "template_card_event": {"card_type": "vote_interaction", "event_key": "k", "task_id": "t"},
            },
            "template_card_event",
            {"card_type": "vote_interaction", "event_key": "k", "task_id": "t"},
            id="card",
        ),
        pytest.param(
            {
                "eventtype": "feedback_event",
                "feedback_event": {"id": "f", "type": 2, "content": "secret", "inaccurate_reason_list": [2, 4]},
            },
            "feedback_event",
            {"feedback_id": "f", "feedback_type": 2, "inaccurate_reasons": [2, 4]},
            id="feedback-without-its-text",
        ),
        pytest.param({"eventtype": "tea_time"}, "tea_time", {}, id="unknown"),
        pytest.param(
            {"eventtype": "template_card_event", "template_card_event": {}},
            "template_card_event",
            {"card_type": "", "event_key": "", "task_id": ""},
            id="card-without-fields",
        ),
        pytest.param(
            {"eventtype": "feedback_event", "feedback_event": {}},
            "feedback_event",
            {"feedback_id": "", "feedback_type": 0, "inaccurate_reasons": []},
            id="feedback-without-fields",
        ),
    ],
)
def test_an_event_is_read_as_its_type_and_details_without_user_text(event: object, type_: str, details: object) -> None:
    found = read(msgtype="event", event=event, response_url="").event
    assert found is not None
    assert found.type == type_
    assert found.details == details


def test_an_id_may_have_512_characters() -> None:
    assert read(msgid="m" * 512, msgtype="stream").message_id == "m" * 512


@pytest.mark.parametrize("content", [b"x", b"a raw \x01 inside"], ids=["json", "almost-json"])
def test_a_number_may_be_sent_as_a_string(content: bytes) -> None:
    message = b'{"msgid":"m","msgtype":"text","create_time":"1700000000","text":{"content":"' + content + b'"}}'
    assert read_callback(message).created_at == 1700000000


def test_raw_control_characters_inside_strings_are_accepted() -> None:
    """They are invalid JSON, but WeCom has sent them."""
    callback = read_callback(b'{"msgid":"m","msgtype":"text","text":{"content":"a\tb\x01c"}}')
    assert callback.items == (TextItem("a\tb\x01c"),)


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    callback = read_callback(
        b'{"msgid":"m","msgtype":"text","text":{"content":"a\\ud83d"},"from":{"userid":"\\ud83d"}}'
    )
    assert callback.items == (TextItem("a\ufffd"),)
    assert callback.sender_id == "\ufffd"


def test_the_details_of_an_event_are_cut_to_128_characters() -> None:
    event = {"eventtype": "template_card_event", "template_card_event": {"event_key": "k" * 1000}}
    found = read(msgtype="event", event=event).event
    assert found is not None
    assert found.details["event_key"] == "k" * 128


def test_no_repr_contains_a_text_or_a_url() -> None:
    callback = read(msgtype="text", text={"content": "private"}, quote={"msgtype": "image", "image": {"url": URL}})
    text = repr((callback, callback.items, callback.quoted_items, schema.Text("private"), schema.Media(URL)))
    assert "private" not in text
    assert "http" not in text
    assert [repr(part) for part in (*callback.items, schema.Text("private"))] == ["<TextItem>", "<Text>"]


def rating(**feedback: object) -> Rating | None:
    fields = {"msgid": "m1", "msgtype": "event", "event": {"eventtype": "feedback_event", "feedback_event": feedback}}
    event = read_callback(json.dumps(fields).encode()).event
    assert event is not None
    return event.rating


@pytest.mark.parametrize(("type_", "kind"), [(1, "accurate"), (2, "inaccurate"), (3, "withdrawn")])
def test_feedback_is_a_rating_of_an_answer(type_: int, kind: str) -> None:
    found = rating(id="f1", type=type_)
    assert found is not None
    assert (found.id, found.kind) == ("f1", kind)


def test_a_bad_rating_has_reasons_and_a_comment_that_its_repr_hides() -> None:
    """A reason that WeCom has not documented is `other`."""
    found = rating(id="f1", type=2, content="canary", inaccurate_reason_list=[1, 2, 3, 4, 5, 6, 1])
    assert found is not None
    assert found.reasons == ("off_topic", "incomplete", "wrong", "data_analysis", "other")
    assert found.comment == "canary"
    assert "canary" not in repr(found)


def test_only_a_bad_rating_has_reasons_and_a_comment() -> None:
    found = rating(id="f1", type=3, content="canary", inaccurate_reason_list=[1])
    assert found is not None
    assert (found.reasons, found.comment) == ((), "")


@pytest.mark.parametrize("type_", [0, 4, None, "x"])
def test_feedback_of_an_undocumented_kind_is_no_rating(type_: object) -> None:
    assert rating(id="f1", type=type_) is None
