"""Tests for the ids, the times and the last words of streams."""

import pytest

from maven_channel_wecom.policy.stream import StreamTimes, broken_off, stream_id
from maven_channel_wecom.protocol import limits


def test_the_id_of_a_stream_depends_on_channel_and_message_alone() -> None:
    """A repeated callback names the same stream, in every replica and after a restart."""
    assert stream_id("wecom", "m1") == stream_id("wecom", "m1")
    assert len({stream_id("wecom", "m1"), stream_id("wecom", "m2"), stream_id("other", "m1")}) == 3


def test_the_id_of_a_stream_is_short_and_plain() -> None:
    """WeCom documents no alphabet and no length; 32 hex digits are in use by others."""
    assert len(stream_id("wecom", "m1")) == 32
    assert set(stream_id("频道", "m\ud800")) <= set("0123456789abcdef")


def test_a_stream_ends_before_wecom_stops_asking() -> None:
    """WeCom counts from the moment the message was sent, and asks about once a second."""
    assert StreamTimes().life + StreamTimes().fetch < limits.REFRESH_SECONDS


def test_a_stream_that_ends_early_keeps_its_text_and_says_why() -> None:
    assert broken_off("Half an answer", "More follows.") == "Half an answer\n\n> More follows."


def test_a_stream_that_ends_early_without_a_text_says_why_alone() -> None:
    assert broken_off("", "More follows.") == "More follows."


@pytest.mark.parametrize(
    "text", ["x" * limits.MARKDOWN_BYTES, "中" * (limits.MARKDOWN_BYTES // 3), "```\n" + "y" * 20_400]
)
def test_the_last_words_fit_whatever_the_text_is(text: str) -> None:
    frame = broken_off(text, "More follows.")
    assert frame.endswith("> More follows.")
    assert len(frame.encode()) <= limits.MARKDOWN_BYTES


def test_an_open_code_fence_does_not_swallow_the_last_words() -> None:
    assert broken_off("```python\nprint(1)", "More follows.") == "```python\nprint(1)\n```\n\n> More follows."
