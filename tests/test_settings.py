"""Tests for reading an object according to the declarations of its keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from maven_channel_wecom.errors import ConfigError
from maven_channel_wecom.settings import Key, Settings, key_schema, object_schema

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-4711"
TEXTS: dict[str, Any] = {"title": "Title", "title_zh": "标题", "help": "Help.", "help_zh": "说明。"}

FLAG = Key(name="flag", type="boolean", default=False, **TEXTS)
COUNT = Key(name="count", type="integer", default=3, minimum=1, maximum=9, **TEXTS)
SECONDS = Key(name="seconds", type="number", default=1.5, minimum=0, **TEXTS)
ANY_TEXT = Key(name="anyText", type="string", default="", **TEXTS)
TEXT = Key(name="text", type="string", default="x", **TEXTS)
NAMES = Key(name="names", type="list of strings", default=(), **TEXTS)
STYLE = Key(name="style", type="string", default="plain", choices=("plain", "fancy"), **TEXTS)
SECRET = Key(name="secret", type="secret", **TEXTS)
NEEDED = Key(name="needed", type="string", required=True, **TEXTS)
OLD = Key(name="olden", type="boolean", default=True, obsolete=True, **TEXTS)
EVEN = Key(name="even", type="integer", default=0, check=lambda value: "must be even" if value % 2 else None, **TEXTS)


def read(key: Key, value: object, **environment: str) -> tuple[Any, list[str]]:
    """Return the value that is read for one key, and the problems."""
    settings = Settings({key.name: value}, "part", (key,), environment=environment)
    return settings[key.name], settings.problems


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (FLAG, True, True),
        (COUNT, 9, 9),
        (COUNT, 5.0, 5),
        (SECONDS, 2, 2.0),
        (ANY_TEXT, "", ""),
        (TEXT, " a ", " a "),
        (NAMES, ["a", "b"], ("a", "b")),
        (STYLE, "Fancy", "fancy"),
        (SECRET, "abc", "abc"),
        (EVEN, 4, 4),
    ],
)
def test_a_valid_value_is_read(key: Key, value: object, expected: object) -> None:
    result, problems = read(key, value)
    assert (result, type(result), problems) == (expected, type(expected), [])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (FLAG, 1, "must be true or false"),
        (COUNT, 0, "must be a whole number from 1 to 9"),
        (COUNT, 1.5, "must be a whole number from 1 to 9"),
        (COUNT, True, "must be a whole number from 1 to 9"),
        (SECONDS, "1", "must be a number, 0 or more"),
        (SECONDS, -0.1, "must be a number, 0 or more"),
        (SECONDS, float("nan"), "must be a number, 0 or more"),
        (SECONDS, float("inf"), "must be a number, 0 or more"),
        (SECONDS, 10**400, "must be a number, 0 or more"),
        (ANY_TEXT, None, "must be a string"),
        (TEXT, "", "must be a string that is not empty"),
        (TEXT, " ", "must be a string that is not empty"),
        (NAMES, "a", 'must be a list of strings that are not empty, such as ["a", "b"]'),
        (NAMES, ["a", " "], 'must be a list of strings that are not empty, such as ["a", "b"]'),
        (STYLE, CANARY, "must be one of plain, fancy"),
        (SECRET, None, 'must be a string, {"env": "NAME"} or {"file": "PATH"}'),
        (SECRET, {"env": "A", "file": "B"}, 'must be a string, {"env": "NAME"} or {"file": "PATH"}'),
        (SECRET, "", "is empty"),
        (EVEN, 3, "must be even"),
    ],
)
def test_a_wrong_value_is_reported_and_replaced_by_the_default(key: Key, value: object, sentence: str) -> None:
    assert read(key, value) == (key.default, [f"part.{key.name} {sentence}"])


def test_all_problems_are_reported_together() -> None:
    settings = Settings({"flag": 1, "count": 0, "unknown": CANARY}, "part", (FLAG, COUNT, NEEDED))
    with pytest.raises(ConfigError) as raised:
        settings.read_all()
    assert raised.value.problems == (
        "part.unknown is not a known key; known keys: count, flag, needed",
        "part.flag must be true or false",
        "part.count must be a whole number from 1 to 9",
        "part.needed is required",
    )


def test_an_unknown_key_is_reported_with_the_nearest_known_one() -> None:
    assert Settings({"Flags": 1}, "part", (FLAG, OLD)).problems == [
        "part.Flags is not a known key; did you mean part.flag?"
    ]
    assert Settings({"flags": 1}, "", (FLAG,)).problems == ["flags is not a known key; did you mean flag?"]


@pytest.mark.parametrize("name", ["agent", "cron", "gateway", "logging"])
def test_a_section_of_the_file_inside_a_channel_is_told_its_place(name: str) -> None:
    settings = Settings({name: {}}, "channels.wecom", (FLAG,))
    assert settings.problems == [f"channels.wecom.{name} is not a known key; {name} belongs beside channels"]


def test_channels_inside_a_channel_is_told_its_place() -> None:
    assert Settings({"channels": {}}, "channels.wecom", (FLAG,)).problems == [
        "channels.wecom.channels is not a known key; it is the object around this entry"
    ]


def test_obsolete_keys_are_not_suggested() -> None:
    assert Settings({"older": 1}, "part", (FLAG, OLD)).problems == ["part.older is not a known key; known keys: flag"]


def test_undeclared_keys_of_an_open_ended_object_are_allowed() -> None:
    settings = Settings({"flag": True, "other": 1}, "part", (FLAG,), open_ended=True)
    assert (settings["flag"], settings.problems) == (True, [])


def test_a_value_that_is_not_an_object_is_read_as_the_defaults() -> None:
    settings = Settings([CANARY], "part", (FLAG, COUNT))
    assert (settings["flag"], settings["count"]) == (False, 3)
    assert settings.problems == ["part must be an object"]


def test_a_problem_is_reported_once_even_if_the_key_is_read_twice() -> None:
    settings = Settings({"count": 0}, "part", (COUNT,))
    assert settings["count"] == settings["count"]
    assert len(settings.problems) == 1


def test_a_key_can_be_required_only_if_another_key_has_a_certain_value() -> None:
    text = Key(name="text", type="string", required=("flag", True), **TEXTS)
    for document, problems in (
        ({}, []),
        ({"flag": False}, []),
        ({"flag": True, "text": "a"}, []),
        ({"flag": True}, ["part.text is required when part.flag is true"]),
    ):
        settings = Settings(document, "part", (FLAG, text))
        assert settings["text"] in {None, "a"}
        assert settings.problems == problems


def test_obsolete_lists_the_obsolete_keys_that_are_present() -> None:
    assert Settings({"olden": False}, "part", (FLAG, OLD)).obsolete() == ("olden",)
    assert Settings({"flag": False}, "part", (FLAG, OLD)).obsolete() == ()


def test_a_secret_is_read_from_the_environment_or_a_file_without_surrounding_white_space(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n", encoding="utf-8")
    assert read(SECRET, {"env": "NAME"}, NAME=" from-env ") == ("from-env", [])
    assert read(SECRET, {"file": str(tmp_path / "secret")}) == ("from-file", [])
    assert read(SECRET, " literal\n") == ("literal", [])


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ({"env": "NOT_SET"}, "the environment variable NOT_SET, which is not set: set it"),
        ({"env": "BLANK"}, "the environment variable BLANK, which is empty"),
        ({"env": CANARY}, "the environment variable (its name goes here, not the secret), which is not set: set it"),
        ({"env": "\ud800"}, "the environment variable (its name goes here, not the secret), which is not set: set it"),
        ({"file": "/none/secret"}, "the file /none/secret, which cannot be read: No such file or directory"),
        ({"file": "/"}, "the file /, which cannot be read: Is a directory"),
        ({"file": "/dev/zero"}, "the file /dev/zero, which is too long for a secret"),
        ({"file": "/none\0"}, "the file /none\0, which cannot be read as UTF-8 text"),
        (
            {"file": CANARY},
            "a file (its path goes here, not the secret), which cannot be read: No such file or directory",
        ),
    ],
)
def test_the_problem_of_a_secret_that_cannot_be_read_names_the_reason(reference: dict[str, str], sentence: str) -> None:
    assert read(SECRET, reference, BLANK=" ")[1] == [f"part.secret takes its value from {sentence}"]


def test_a_secret_is_not_read_from_a_pipe(tmp_path: Path) -> None:
    """Reading would wait until somebody writes."""
    os.mkfifo(tmp_path / "pipe")
    sentence = f"part.secret takes its value from the file {tmp_path}/pipe, which is a pipe: name a file"
    assert read(SECRET, {"file": str(tmp_path / "pipe")})[1] == [sentence]


def test_a_secret_file_that_is_empty_or_binary_is_a_problem(tmp_path: Path) -> None:
    for content, sentence in ((b" \n", "which is empty"), (b"\xff\xfe", "which cannot be read as UTF-8 text")):
        (tmp_path / "secret").write_bytes(content)
        (problem,) = read(SECRET, {"file": str(tmp_path / "secret")})[1]
        assert problem == f"part.secret takes its value from the file {tmp_path / 'secret'}, {sentence}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"\ufeff{CANARY}", "a byte order mark (U+FEFF)"),
        (f"{CANARY}\u200b", "zero width space (U+200B)"),
        (f"{CANARY}\xa0{CANARY}", "no-break space (U+00A0)"),
        (f"{CANARY}\0", "NUL (U+0000)"),
        (f"{CANARY}\x1b", "a control character (U+001B)"),
        (f"{CANARY}\n{CANARY}", "a line end (U+000A)"),
        (f"{CANARY} {CANARY}", "a space (U+0020)"),
        (f'"{CANARY}"', "is wrapped in quotes"),
        (f"'{CANARY}'", "is wrapped in quotes"),
        (f"“{CANARY}”", "is wrapped in quotes"),
        (f"‘{CANARY}’", "is wrapped in quotes"),
        (f"「{CANARY}」", "is wrapped in quotes"),
        (f"«{CANARY}»", "is wrapped in quotes"),
        (f'"{CANARY}', "has a quote at its beginning or end"),
        (f"{CANARY}'", "has a quote at its beginning or end"),
        (f"WECOM_TOKEN={CANARY}", "begins with NAME="),
        (f"export WECOM_TOKEN={CANARY}", "begins with NAME="),
        (f"export WECOM={CANARY}", "begins with NAME="),
        (f"TOKEN={CANARY}", "begins with NAME="),
        (f"APIKEY={CANARY}", "begins with NAME="),
    ],
)
def test_a_mistake_in_copying_a_secret_is_reported_without_the_secret(value: str, words: str) -> None:
    for source in (value, {"env": "NAME"}):
        (problem,) = read(SECRET, source, NAME=value)[1]
        assert words in problem
        assert CANARY not in problem
        assert "WECOM" not in problem


@pytest.mark.parametrize("secret", ["QUJD=", "QUJDRA==", "ABC=def==", "A1=b", "sk=abc", "a'b", "密钥"])
def test_an_unusual_secret_is_accepted(secret: str) -> None:
    assert read(SECRET, secret) == (secret, [])


def test_a_secret_may_have_spaces_if_its_declaration_says_so(tmp_path: Path) -> None:
    path = Key(name="path", type="secret", default="a b", may_have_spaces=True, **TEXTS)
    (tmp_path / "path").write_text(" My Bot\n", encoding="utf-8")
    for value in ("My Bot", {"env": "NAME"}, {"file": str(tmp_path / "path")}):
        assert read(path, value, NAME="My Bot") == ("My Bot", [])
    assert read(path, {"env": "NAME"}, NAME="My\nBot")[1] == [
        "part.path must be printable characters, and holds a line end (U+000A)"
    ]


def test_a_secret_may_be_empty_if_that_is_its_default() -> None:
    optional = Key(name="secret", type="secret", default="", **TEXTS)
    required = Key(name="secret", type="secret", required=True, **TEXTS)
    assert read(optional, "") == ("", [])
    assert read(required, "")[1] == ['part.secret is required: a string, {"env": "NAME"} or {"file": "PATH"}']


def test_the_schema_of_a_key_contains_everything_in_its_declaration() -> None:
    assert key_schema(COUNT) == {
        "title": "Title 标题",
        "description": "Help.\n说明。",
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "default": 3,
    }
    assert key_schema(SECRET)["writeOnly"] is True
    assert key_schema(OLD)["deprecated"] is True
    assert key_schema(STYLE)["enum"] == ["plain", "fancy"]
    assert object_schema((FLAG, NEEDED))["required"] == ["needed"]


SENTENCE = Key(name="text", type="sentence", default="", title="Text", title_zh="文本", help="Text.", help_zh="文本。")


@pytest.mark.parametrize("value", ["hello", "", {"zh": "你好", "en": "hello"}])
def test_a_sentence_is_a_string_or_one_for_each_language(value: object) -> None:
    assert Settings({"text": value}, "entry", (SENTENCE,)).read_all() == {"text": value}
    jsonschema.validate({"text": value}, object_schema((SENTENCE,)))


@pytest.mark.parametrize(
    "value", [None, 7, ["hello"], {}, {"zh": "你好"}, {"zh": "你好", "en": 7}, {"zh": "", "en": "", "fr": ""}]
)
def test_anything_else_is_no_sentence(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings({"text": value}, "entry", (SENTENCE,)).read_all()
    expected = 'entry.text must be a string, or an object such as {"zh": "你好", "en": "hello"}'
    assert caught.value.problems == (expected,)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"text": value}, object_schema((SENTENCE,)))
