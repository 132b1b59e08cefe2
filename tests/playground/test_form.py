"""The message that is made of what a person wrote."""

from __future__ import annotations

import pytest

from maven_channel_wecom.playground.form import MAX_FILE_BYTES, UnsendableError, WrittenForm, picture_type, to_message
from maven_channel_wecom.playground.sample_picture import sample_picture
from maven_channel_wecom.simulator.messages import File, Image, Mixed, Text, Voice

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (WrittenForm(text=" hi "), Text("hi")),
        (WrittenForm(kind="voice", text="hi"), Voice("hi")),
        (WrittenForm(kind="picture", content=PNG, name="a.png"), Image(PNG, "a.png")),
        (WrittenForm(kind="picture", text="see", content=PNG), Mixed((Text("see"), Image(PNG, "sample.png")))),
        (WrittenForm(kind="sample"), Image(sample_picture(), "sample.png")),
        (WrittenForm(kind="file", content=b"x", name="a.txt"), File(b"x", "a.txt")),
    ],
)
def test_each_kind_becomes_its_message(form: WrittenForm, expected: object) -> None:
    assert to_message(form, in_group=False, bot="Maven") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("hi", "@Maven hi"), ("@Maven hi", "@Maven hi"), ("@Li Na hi", "@Maven @Li Na hi")]
)
def test_in_a_group_the_bot_is_mentioned_once(text: str, expected: str) -> None:
    assert to_message(WrittenForm(text=text), in_group=True, bot="Maven") == Text(expected)


def test_a_picture_in_a_group_is_mixed_with_a_mention() -> None:
    form = WrittenForm(kind="picture", content=PNG, name="a.png")
    assert to_message(form, in_group=True, bot="Maven") == Mixed((Text("@Maven"), Image(PNG, "a.png")))


@pytest.mark.parametrize(
    ("form", "in_group", "reason"),
    [
        (WrittenForm(text=" \n"), False, "problem_empty"),
        (WrittenForm(text=" \n"), True, "problem_empty"),
        (WrittenForm(kind="voice"), False, "problem_empty"),
        (WrittenForm(kind="dance", text="hi"), False, "problem_empty"),
        (WrittenForm(kind="voice", text="hi"), True, "problem_group"),
        (WrittenForm(kind="file", content=b"x"), True, "problem_group"),
        (WrittenForm(kind="picture", content=b"<svg>"), False, "problem_picture"),
        (WrittenForm(kind="file", content=bytes(MAX_FILE_BYTES + 1)), False, "problem_large"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_reason(form: WrittenForm, reason: str, *, in_group: bool) -> None:
    with pytest.raises(UnsendableError, match=f"^{reason}$"):
        to_message(form, in_group=in_group, bot="Maven")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"RIFF....WAVE", None),
        (b"<svg xmlns", None),
        (b"", None),
    ],
)
def test_only_pictures_that_no_browser_executes_are_pictures(content: bytes, expected: str | None) -> None:
    assert picture_type(content) == expected


def test_the_repr_shows_no_text() -> None:
    assert repr(WrittenForm(text="canary", kind="text")) == "<WrittenForm text>"
