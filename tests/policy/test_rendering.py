"""From an answer to what WeCom shows of it."""

import pytest

from maven_channel_wecom.policy.rendering import CONTINUED_NOTICE, CUT_NOTICE, render, split
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES

NOTICE_BYTES = len(CUT_NOTICE.encode())


def size(text: str) -> int:
    return len(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("hello", id="short"),
        pytest.param("x" * MARKDOWN_BYTES, id="exactly-the-limit"),
        pytest.param("汉" * (MARKDOWN_BYTES // 3) + "xx", id="exactly-the-limit-in-chinese"),
        pytest.param("\n  indented\t\r\n", id="white-space"),
    ],
)
def test_a_text_that_fits_is_not_touched(text: str) -> None:
    """Not a byte, the last one of the limit included."""
    rendered = render(text)
    assert rendered.content == text
    assert rendered.truncated_bytes == 0


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\x00\x07", "\u3000"])
def test_a_blank_answer_renders_to_nothing(text: str) -> None:
    """WeCom refuses empty content (44004), and a user has no use for it."""
    assert render(text).content == ""


@pytest.mark.parametrize("character", ["x", "é", "汉", "🙂"])
def test_one_byte_too_many_is_cut_inside_the_limit_and_announced(character: str) -> None:
    """The notice is part of the limit; what is missing is counted."""
    text = "x" * (MARKDOWN_BYTES + 1 - size(character)) + character
    rendered = render(text)
    assert rendered.content.endswith(CUT_NOTICE)
    assert size(rendered.content) <= MARKDOWN_BYTES
    kept = rendered.content.removesuffix(CUT_NOTICE)
    assert text.startswith(kept)
    assert rendered.truncated_bytes == size(text) - size(kept)


@pytest.mark.parametrize(
    "cluster",
    [
        pytest.param("汉", id="chinese"),
        pytest.param("🙂", id="emoji"),
        pytest.param("e\u0301", id="combining-accent"),
        pytest.param("👨‍👩‍👧", id="family"),
        pytest.param("👋🏻", id="lightest-skin-tone"),
        pytest.param("👋🏿", id="darkest-skin-tone"),
        pytest.param("🇨🇳", id="flag"),
        pytest.param("🇦🇿", id="flag-of-the-first-and-the-last-letter"),
        pytest.param("❤️", id="variation-selector"),
        pytest.param("कि", id="spacing-vowel-sign"),
        pytest.param("1\ufe0f\u20e3", id="enclosing-keycap"),
    ],
)
@pytest.mark.parametrize("before", ["", "x"], ids=["from-the-start", "after-a-letter"])
def test_a_cut_leaves_characters_whole(before: str, cluster: str) -> None:
    """As a reader sees them, wherever the limit falls and wherever they begin."""
    for limit in range(200, 200 + 2 * size(cluster)):
        kept = render(before + cluster * 100, limit).content.removesuffix(CUT_NOTICE)
        assert kept.removeprefix(before).replace(cluster, "") == ""
        assert limit - NOTICE_BYTES - size(kept) < 2 * size(cluster)


def test_a_cut_goes_back_as_far_as_the_first_character() -> None:
    """One whole letter is more to a reader than a letter and half a family."""
    family = "👨‍👩‍👧"
    rendered = render("x" + family * 10, NOTICE_BYTES + size("x") + size(family) - 1)
    assert rendered.content == "x" + CUT_NOTICE


@pytest.mark.parametrize(
    ("kept", "rest"),
    [
        pytest.param("one line", "\nand another", id="before-a-line-end"),
        pytest.param("one line\n", "and another", id="after-a-line-end"),
        pytest.param("one line\r", "and another", id="after-a-carriage-return"),
        pytest.param("half a flag 🇨", "and no other half", id="half-a-flag"),
        pytest.param("a whole flag 🇨🇳", "🇨🇳", id="between-flags"),
        pytest.param("next to the skin tones ", "🏺", id="before-an-amphora"),
        pytest.param("next to the skin tones ", "🐀", id="before-a-rat"),
        pytest.param("next to the flags 🈀", "🈀", id="between-squared-kana"),
    ],
)
def test_a_cut_between_characters_gives_up_nothing(kept: str, rest: str) -> None:
    """Every byte the limit leaves is used."""
    assert render(kept + rest * 100, NOTICE_BYTES + size(kept)).content == kept + CUT_NOTICE


def test_a_line_end_of_two_characters_is_not_torn() -> None:
    """Half of one would be a character WeCom refuses at the seam."""
    for limit in (300, 301):
        kept = render("x" + "\r\n" * 300 + "x", limit).content.removesuffix(CUT_NOTICE)
        assert kept.endswith("\r\n")


def test_a_text_of_combining_marks_alone_is_still_cut_near_its_limit() -> None:
    """Nobody writes such a cluster; looking for its start must not eat the answer."""
    kept = render("\u0301" * 500, 400).content.removesuffix(CUT_NOTICE)
    assert size(kept) > 400 - NOTICE_BYTES - 3


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        pytest.param("```\n", "\n```", id="backticks"),
        pytest.param("```python\n", "\n```", id="with-a-language"),
        pytest.param("~~~~\n", "\n~~~~", id="four-tildes"),
        pytest.param("- list\n  ```\n", "\n  ```", id="in-a-list"),
        pytest.param("```\nover\n```\n\n~~~\n", "\n~~~", id="after-one-that-is-closed"),
        pytest.param("~~~ a`b\n", "\n~~~", id="tildes-with-a-backtick-behind"),
        pytest.param("```\n~~~\n", "\n```", id="around-the-other-mark"),
        pytest.param("```\n```python\n", "\n```", id="around-a-mark-with-a-language"),
    ],
)
def test_an_open_fence_is_closed_before_the_notice(opening: str, closing: str) -> None:
    """With the mark that opened it, or the notice would be code."""
    rendered = render(opening + "code " * 100, 300)
    assert rendered.content.endswith(closing + CUT_NOTICE)
    assert size(rendered.content) <= 300


@pytest.mark.parametrize("code", ["code\n", "汉\n", "🙂"], ids=["lines", "chinese-lines", "emoji"])
def test_a_closing_mark_has_its_line_inside_the_limit(code: str) -> None:
    """Wherever the limit falls: no byte beyond it, and no empty line where the code ended its own."""
    for limit in range(300, 300 + 2 * size(code)):
        rendered = render("```\n" + code * 200, limit)
        shown = rendered.content.removesuffix(CUT_NOTICE)
        assert shown.endswith("\n```")
        assert "\n\n" not in shown
        assert size(rendered.content) <= limit


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```\ncode\n```\n" + "text " * 100, id="closed-fence"),
        pytest.param("use ```inline``` code " + "text " * 100, id="inline"),
        pytest.param("    ```\n" + "text " * 100, id="indented-code"),
        pytest.param("``` a`b\n" + "text " * 100, id="backtick-after-the-mark"),
        pytest.param("a\u2028```\n" + "text " * 100, id="after-a-line-separator-that-markdown-does-not-know"),
    ],
)
def test_what_is_no_open_fence_is_not_closed(text: str) -> None:
    """A closing mark would open one."""
    kept = render(text, 300).content.removesuffix(CUT_NOTICE)
    assert text.startswith(kept)


def test_a_shorter_mark_inside_a_fence_does_not_close_it() -> None:
    """Code that shows a fence is still code."""
    rendered = render("````\n```\ncode\n```\n" + "x" * 500, 300)
    assert rendered.content.endswith("\n````" + CUT_NOTICE)


def test_rendering_twice_changes_nothing_more() -> None:
    """A plugin may have rendered already."""
    once = render("```\n" + "汉字 " * 9000)
    assert render(once.content).content == once.content


def test_characters_wecom_refuses_are_taken_out() -> None:
    """Control characters go, half an emoji becomes a replacement character."""
    assert render("a\x00b\x1bc\ud83d").content == "abc\ufffd"


def test_a_long_text_goes_over_several_parts() -> None:
    """All of it, each part inside the limit, each but the last saying that more comes."""
    text = "".join(f"{number}," for number in range(2000))
    parts = split(text, 20, 1000)
    assert all(size(part.content) <= 1000 for part in parts)
    assert all(part.content.endswith(CONTINUED_NOTICE) for part in parts[:-1])
    assert "".join(part.content.removesuffix(CONTINUED_NOTICE) for part in parts) == text
    assert parts[-1].truncated_bytes == 0


def test_a_text_that_fits_is_one_part() -> None:
    """However many there might be, and to the last byte of the limit."""
    assert [part.content for part in split("x" * 1000, 3, 1000)] == ["x" * 1000]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("all of it", "all of it", id="text"),
        pytest.param("```\ncode", "```\ncode\n```", id="code"),
    ],
)
def test_nothing_is_announced_when_only_white_space_is_left(text: str, shown: str) -> None:
    """A part that holds nothing is not sent; a fence is closed all the same."""
    (part,) = split(text + " \n" * 500, 3, 400)
    assert "".join(part.content.split()) == "".join(shown.split())
    assert part.truncated_bytes == 0


def test_a_fence_is_opened_again_after_the_seam() -> None:
    """Each part is whole markdown."""
    first, second = split("```python\n" + "x" * 400 + "\n```\ndone", 2, 400)[:2]
    assert first.content.endswith("\n```" + CONTINUED_NOTICE)
    assert second.content.startswith("```python\nx")
    assert second.content.endswith("\n```\ndone")


def test_a_fence_is_opened_again_with_the_beginning_of_a_long_info_line() -> None:
    """A language is short; a line of a thousand letters would fill every part."""
    second = split("```" + "a" * 100 + "\n" + "code\n" * 200, 3, 500)[1]
    assert second.content.startswith("```" + "a" * 32 + "\n")


def test_the_last_part_is_cut_when_there_are_not_enough() -> None:
    """And says so."""
    parts = split("x" * 5000, 2, 1000)
    assert len(parts) == 2
    assert parts[1].content.endswith(CUT_NOTICE)
    assert parts[1].truncated_bytes > 0


def test_one_part_is_rendering() -> None:
    """Splitting into one and rendering are the same thing."""
    assert split("x" * 5000, 1, 1000) == [render("x" * 5000, 1000)]
    assert split(" ", 3) == []


def test_the_text_is_in_no_repr() -> None:
    """It is what the agent told somebody."""
    assert "canary" not in repr(render("canary"))
