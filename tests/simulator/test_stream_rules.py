"""What is wrong with a frame of a stream."""

from __future__ import annotations

import pytest

from maven_channel_wecom.simulator.stream_rules import AnsweredFrame, frame_offences, is_blank, read_frame
from tests.simulator.bots import frame


def answered(
    content: str, *, stream_id: str = "s1", finish: bool = False, feedback_id: str | None = None
) -> AnsweredFrame:
    return AnsweredFrame(stream_id=stream_id, content=content, finish=finish, feedback_id=feedback_id)


def test_a_frame_is_read_with_its_feedback_id() -> None:
    assert read_frame(frame("s1", "hello", finish=True)) == answered("hello", finish=True)
    assert read_frame(frame("s1", "", feedback={"id": "f1"})) == answered("", feedback_id="f1")


@pytest.mark.parametrize(
    "opened",
    [
        b'"success"',
        b'{"msgtype":"text","text":{"content":"hello"}}',
        b'{"msgtype":"stream"}',
        b'{"msgtype":"stream","stream":{"id":"s1","content":"hello"}}',
        b'{"msgtype":"stream","stream":{"id":"s1","finish":1,"content":"hello"}}',
        b'{"msgtype":"stream","stream":{"finish":true,"content":"hello"}}',
        b'{"msgtype":"stream","stream":{"id":"s1","finish":true,"content":"hello","thinking_content":""}}',
        b"\xff",
    ],
)
def test_anything_else_is_no_frame(opened: bytes) -> None:
    assert read_frame(opened) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [("", True), (" \n", True), ("\u200b\x00\ufeff", True), ("你", False), (" .", False)],
)
def test_a_text_without_a_visible_character_is_blank(content: str, *, expected: bool) -> None:
    assert is_blank(content) is expected


def test_a_stream_that_begins_empty_grows_and_is_finished_is_in_order() -> None:
    assert list(frame_offences(answered("", feedback_id="f" * 256), stream_id="s1")) == []
    assert list(frame_offences(answered("x" * 20_480), stream_id="s1", shown="x", is_refresh=True)) == []
    assert list(frame_offences(answered("x", finish=True), stream_id="s1", shown="other", is_refresh=True)) == []


def test_a_last_frame_may_be_repeated() -> None:
    last = answered("done", finish=True)
    assert list(frame_offences(last, stream_id="s1", shown="done", is_finished=True, is_refresh=True)) == []


@pytest.mark.parametrize(
    ("given", "shown", "is_finished", "expected"),
    [
        (answered("x", stream_id="s2"), "", False, "wrong_stream_id"),
        (answered("x" * 20_481), "", False, "oversized"),
        (answered("你" * 6_827), "", False, "oversized"),
        (answered(""), "hello", False, "blank_frame"),
        (answered("\u200b"), "hello", False, "blank_frame"),
        (answered(" ", finish=True), "", False, "blank_frame"),
        (answered("other", finish=True), "done", True, "changed_after_finish"),
        (answered("done"), "done", True, "changed_after_finish"),
        (answered("", finish=True), "done", True, "changed_after_finish"),
        (answered("x", feedback_id="f1"), "", False, "wrong_feedback_id"),
    ],
)
def test_a_wrong_answer_to_a_refresh_is_an_offence(
    given: AnsweredFrame, shown: str, expected: str, *, is_finished: bool
) -> None:
    found = frame_offences(given, stream_id="s1", shown=shown, is_finished=is_finished, is_refresh=True)
    assert list(found) == [expected]


@pytest.mark.parametrize("feedback_id", ["", "f" * 257, "你" * 86])
def test_a_feedback_id_has_between_1_and_256_bytes(feedback_id: str) -> None:
    assert list(frame_offences(answered("", feedback_id=feedback_id), stream_id="s1")) == ["wrong_feedback_id"]


def test_a_stream_has_an_id() -> None:
    assert list(frame_offences(answered("x", stream_id=""), stream_id="")) == ["wrong_stream_id"]


def test_a_repr_does_not_show_the_content() -> None:
    assert repr(answered("CANARY")) == "<AnsweredFrame of 6 bytes, finish False>"
