"""The language of sentences for the people in a chat."""

import pytest

from maven_channel_wecom.policy.language import REMEMBERED_PEOPLE, Languages
from maven_channel_wecom.protocol.callback import Callback, Item, MediaItem, TextItem, UnknownItem

PICTURE = MediaItem(kind="image", url="https://x/")


def callback(*items: Item | str, sender: str = "alice", quoted: tuple[Item, ...] = (), group: bool = False) -> Callback:
    return Callback(
        message_id="m1",
        type="mixed",
        sender_id=sender,
        is_group=group,
        chat_id="wr1" if group else sender,
        items=tuple(TextItem(item) if isinstance(item, str) else item for item in items),
        quoted_items=quoted,
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("hello", "en"),
        ("你好", "zh"),
        ("please 看 this", "zh"),
        ("𠮷", "zh"),
        ("〇", "zh"),
        ("привет", "en"),
        ("안녕하세요", "en"),
        ("42?", "en"),
        ("👍", "en"),
    ],
)
def test_any_han_character_in_the_text_makes_it_chinese(text: str, language: str) -> None:
    assert Languages(None, ()).of_callback(callback(text)) == language


def test_all_texts_of_a_mixed_message_count() -> None:
    assert Languages(None, ()).of_callback(callback("look", PICTURE, "这里")) == "zh"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("@项目助手 hello", "en"),
        ("hello@项目助手 ", "en"),
        ("＠项目助手\u2005hello", "en"),
        ("@项目 助手 hello", "en"),
        ("@Bot 你好", "zh"),
        ("hello @张三", "en"),
    ],
)
def test_mentions_do_not_count(text: str, language: str) -> None:
    """A name with a space is recognized if it is configured."""
    assert Languages(None, ("项目 助手",)).of_callback(callback(text, group=True)) == language


def test_quotes_do_not_count() -> None:
    assert Languages(None, ()).of_callback(callback("and this?", quoted=(TextItem("你好"),))) == "en"


@pytest.mark.parametrize(
    "items", [("",), (" \u200b",), (PICTURE,), (UnknownItem("voice"),), (), ("@项目助手",)], ids=str
)
def test_without_text_of_their_own_a_person_gets_the_language_they_last_wrote_in(items: tuple[Item | str, ...]) -> None:
    languages = Languages(None, ())
    assert languages.of_callback(callback(*items)) == languages.of_person("alice") == "zh"
    languages.of_callback(callback("hello"))
    languages.of_callback(callback("你好", sender="bob"))
    assert languages.of_callback(callback(*items)) == languages.of_person("alice") == "en"
    assert languages.of_callback(callback(*items, sender="bob")) == "zh"


def test_a_fixed_language_is_that_of_everybody() -> None:
    languages = Languages("en", ())
    assert languages.of_callback(callback("你好")) == languages.of_person("alice") == "en"


def test_only_the_people_who_wrote_last_are_remembered() -> None:
    languages = Languages(None, ())
    languages.of_callback(callback("hello", sender="first"))
    languages.of_callback(callback("hello", sender="second"))
    languages.of_callback(callback("hello", sender="first"))
    for number in range(REMEMBERED_PEOPLE - 1):
        languages.of_callback(callback("hello", sender=f"person {number}"))
    assert languages.of_person("first") == "en"
    assert languages.of_person("second") == "zh"
