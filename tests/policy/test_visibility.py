"""Recognition of texts that show nothing in a chat."""

import time

import pytest

from maven_channel_wecom.policy.visibility import is_visible


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t\r\n",
        "\x00\x07\x9f",
        "\u3000\xa0",
        "\u200b\u200d\ufeff",
        "\u202e\u2066",
        "\xad",
        "\u3164",
        "\u2800",
        "\ufe0f",
    ],
)
def test_white_space_controls_and_characters_without_width_are_invisible(text: str) -> None:
    assert not is_visible(text)


@pytest.mark.parametrize("text", ["x", ".", "好", "👍", "\u0301", "\u200bx", " 。", "\ufffd", "👨‍👩‍👧"])
def test_every_other_character_is_visible(text: str) -> None:
    assert is_visible(text)


def test_a_long_invisible_text_is_searched_in_time_linear_in_its_length() -> None:
    started = time.perf_counter()
    assert not is_visible("\u200b" * 1_000_000)
    assert time.perf_counter() - started < 1
