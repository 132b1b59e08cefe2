"""What a person is told about a message that holds nothing an agent could read."""

import pytest

from maven_channel_wecom.policy.explanation import explanation
from maven_channel_wecom.protocol.callback import Callback, Item, MediaItem, TextItem, UnknownItem
from maven_channel_wecom.sentences import MESSAGE_EMPTY, MESSAGE_TYPE_UNKNOWN, VOICE_EMPTY

PICTURE = MediaItem(kind="image", url="https://x/")


def callback(type_: str, *items: Item, quoted: tuple[Item, ...] = ()) -> Callback:
    return Callback(message_id="m1", type=type_, sender_id="alice", items=items, quoted_items=quoted)


@pytest.mark.parametrize("text", ["", " \n", "\u200b\x07"])
def test_a_blank_text_or_transcript_is_empty(text: str) -> None:
    assert explanation(callback("text", TextItem(text))) == ("empty_message", MESSAGE_EMPTY)
    assert explanation(callback("mixed", TextItem(text), TextItem(text))) == ("empty_message", MESSAGE_EMPTY)
    assert explanation(callback("voice", TextItem(text))) == ("empty_message", VOICE_EMPTY)


def test_an_unknown_type_is_named_as_such() -> None:
    assert explanation(callback("hologram")) == ("unknown_type", MESSAGE_TYPE_UNKNOWN)


@pytest.mark.parametrize(
    "asked",
    [
        callback("text", TextItem("x")),
        callback("mixed", TextItem(""), PICTURE),
        callback("image", PICTURE),
        callback("voice", UnknownItem("voice")),
        callback("text", TextItem(""), quoted=(TextItem("words"),)),
    ],
    ids=["text", "blank text and picture", "picture", "unreadable", "quote"],
)
def test_the_agent_is_asked_about_anything_else(asked: Callback) -> None:
    assert explanation(asked) is None
