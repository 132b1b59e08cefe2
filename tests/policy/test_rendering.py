"""Rendering and splitting of answers."""

import statistics
import time

import pytest

from maven_channel_wecom.policy.rendering import Rendered, Splitter, render, render_progress
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES
from maven_channel_wecom.sentences import ANSWER_CONTINUED, ANSWER_CUT
from tests.fakes.splitting import split

CUT_NOTICE = ANSWER_CUT.en
CONTINUED_NOTICE = ANSWER_CONTINUED.en
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
def test_a_text_within_the_limit_is_unchanged(text: str) -> None:
    rendered = render(text)
    assert rendered.content == text
    assert rendered.truncated_bytes == 0


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\x00\x07", "\u3000"])
def test_a_blank_answer_is_rendered_as_empty(text: str) -> None:
    """WeCom rejects empty content (44004)."""
    assert render(text).content == ""


@pytest.mark.parametrize("character", ["x", "é", "汉", "🙂"])
def test_a_text_one_byte_over_the_limit_is_cut_and_ends_with_the_notice(character: str) -> None:
    """The notice counts towards the limit, and the bytes that were cut off are counted."""
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
def test_a_cut_does_not_split_a_grapheme_cluster(before: str, cluster: str) -> None:
    for limit in range(200, 200 + 2 * size(cluster)):
        kept = render(before + cluster * 100, limit).content.removesuffix(CUT_NOTICE)
        assert kept.removeprefix(before).replace(cluster, "") == ""
        assert limit - NOTICE_BYTES - size(kept) < 2 * size(cluster)


def test_a_cut_may_leave_a_single_character() -> None:
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
def test_a_cut_between_clusters_uses_the_whole_limit(kept: str, rest: str) -> None:
    assert render(kept + rest * 100, NOTICE_BYTES + size(kept)).content == kept + CUT_NOTICE


def test_a_line_end_of_two_characters_is_not_split() -> None:
    for limit in (300, 301):
        kept = render("x" + "\r\n" * 300 + "x", limit).content.removesuffix(CUT_NOTICE)
        assert kept.endswith("\r\n")


def test_a_text_of_combining_marks_only_is_cut_near_the_limit() -> None:
    """The search for the start of a cluster is bounded."""
    kept = render("\u0301" * 500, 400).content.removesuffix(CUT_NOTICE)
    assert size(kept) > 400 - NOTICE_BYTES - 3


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        pytest.param("```\n", "\n```", id="backticks"),
        pytest.param("```python\n", "\n```", id="with-a-language"),
        pytest.param("~~~~\n", "\n~~~~", id="four-tildes"),
        pytest.param("- list\n  ```\n", "\n  ```", id="in-a-list"),
        pytest.param("```\nover\n```\n\n~~~\n", "\n~~~", id="after-a-closed-fence"),
        pytest.param("~~~ a`b\n", "\n~~~", id="tildes-with-a-backtick-after-them"),
        pytest.param("```\n~~~\n", "\n```", id="around-the-other-mark"),
        pytest.param("```\n```python\n", "\n```", id="around-a-mark-with-a-language"),
    ],
)
def test_an_open_fence_is_closed_before_the_notice(opening: str, closing: str) -> None:
    """Otherwise the notice would be shown as code."""
    rendered = render(opening + "code " * 100, 300)
    assert rendered.content.endswith(closing + CUT_NOTICE)
    assert size(rendered.content) <= 300


@pytest.mark.parametrize("code", ["code\n", "汉\n", "🙂"], ids=["lines", "chinese-lines", "emoji"])
def test_a_closing_fence_is_within_the_limit_and_follows_no_empty_line(code: str) -> None:
    for limit in range(300, 300 + 2 * size(code)):
        rendered = render("```\n" + code * 200, limit)
        kept = rendered.content.removesuffix(CUT_NOTICE)
        assert kept.endswith("\n```")
        assert "\n\n" not in kept
        assert size(rendered.content) <= limit


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```\ncode\n```\n" + "text " * 100, id="closed-fence"),
        pytest.param("use ```inline``` code " + "text " * 100, id="inline"),
        pytest.param("    ```\n" + "text " * 100, id="indented-code"),
        pytest.param("``` a`b\n" + "text " * 100, id="backtick-after-the-mark"),
        pytest.param("a\u2028```\n" + "text " * 100, id="after-a-unicode-line-separator"),
    ],
)
def test_text_without_an_open_fence_gets_no_closing_fence(text: str) -> None:
    kept = render(text, 300).content.removesuffix(CUT_NOTICE)
    assert text.startswith(kept)


def test_a_shorter_fence_inside_a_fence_does_not_close_it() -> None:
    rendered = render("````\n```\ncode\n```\n" + "x" * 500, 300)
    assert rendered.content.endswith("\n````" + CUT_NOTICE)


def test_rendering_a_rendered_text_changes_nothing() -> None:
    """A plugin may have rendered the text already."""
    once = render("```\n" + "汉字 " * 9000)
    assert render(once.content).content == once.content


def test_control_characters_are_removed_and_lone_surrogates_replaced() -> None:
    assert render("a\x00b\x08c\x1b\ud83d").content == "abc\ufffd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("\x1b[31mFAILED\x1b[0m", "FAILED", id="color"),
        pytest.param("\x1b[38;2;1;2;3;48:5:1mx\x1b[K\x1b[2Jy", "xy", id="parameters"),
        pytest.param("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ ok", "link ok", id="link"),
        pytest.param("\x1b]8;;http://x\x07link\x1b]8;;\x07 ok", "link ok", id="link-with-bell"),
        pytest.param("\x1b]0;title\x07x", "x", id="title"),
        pytest.param("\x1bP1$q\x1b\\x\x1b_a\x1b\\y\x1b^b\x1b\\z\x1bXc\x1b\\.", "xyz.", id="strings"),
        pytest.param("\x1b]0;no end\nx", "no end\nx", id="title-without-an-end"),
        pytest.param("\x1b]8;;http://x", ";http://x", id="link-without-an-end"),
        pytest.param("\x1b_x is 1\n\x1bPy is 2\x1bXz", "x is 1\ny is 2z", id="strings-without-an-end"),
        pytest.param("\x1b]x is 1", "x is 1", id="command-without-a-number"),
        pytest.param("\x1b(Bx\x1b7y\x1b8z\x1bc.\x1b#8!", "xyz.!", id="short"),
        pytest.param("x\x1b[31", "x", id="unfinished"),
        pytest.param("x\x1b", "x", id="only-the-first-character"),
        pytest.param("x\x1b[汉", "x汉", id="before-chinese"),
        pytest.param("x\x1b[3\n1m", "x\n1m", id="broken-off"),
        pytest.param("\x9b31mFAILED\x9b0m", "FAILED", id="color-of-eight-bits"),
        pytest.param("\x9d8;;http://x\x9clink", "link", id="link-of-eight-bits"),
        pytest.param(
            "\u00e2\x80\x9cquoted\u00e2\x80\x9d and more", "\u00e2quoted\u00e2 and more", id="wrongly-decoded"
        ),
        pytest.param("[31m is a color", "[31m is a color", id="without-escape"),
    ],
)
def test_escape_sequences_of_terminals_are_removed_whole(text: str, expected: str) -> None:
    assert render("." + text).content == "." + expected


def test_a_long_text_is_split_into_parts_that_hold_all_of_it() -> None:
    """Each part is within the limit, and each except the last ends with the notice that another follows."""
    text = "".join(f"{number}," for number in range(2000))
    parts = split(text, 20, 1000)
    assert all(size(part.content) <= 1000 for part in parts)
    assert all(part.content.endswith(CONTINUED_NOTICE) for part in parts[:-1])
    assert "".join(part.content.removesuffix(CONTINUED_NOTICE) for part in parts) == text
    assert parts[-1].truncated_bytes == 0


def test_a_text_within_the_limit_is_one_part() -> None:
    assert [part.content for part in split("x" * 1000, 3, 1000)] == ["x" * 1000]


@pytest.mark.parametrize("text", ["all of it", "```\ncode"], ids=["text", "code"])
def test_white_space_at_the_end_needs_no_other_part(text: str) -> None:
    (part,) = split(text + " \n" * 500, 3, 400)
    assert (part.content, part.truncated_bytes) == (text, 0)


@pytest.mark.parametrize("line", ["x" * 200, "", "```", "- a\t", "汉"], ids=repr)
def test_the_time_for_a_part_does_not_depend_on_the_length_of_the_text(line: str) -> None:
    """A part takes about a millisecond, at most ten on a busy machine."""
    text = f"{line}x\n" * (1_000_000 // (len(line) + 2))
    seconds = []
    splitter = Splitter(text)
    for _ in range(40):
        started_at = time.process_time()
        assert not splitter.fits
        splitter.cut()
        seconds.append(time.process_time() - started_at)
    assert statistics.median(seconds) < 0.01


def test_a_fence_of_a_very_long_mark_does_not_fill_every_part() -> None:
    text = "`" * 5_000 + "\n" + "code\n" * 2_000
    parts = split(text, 20, 1000)
    assert parts[-1].truncated_bytes == 0
    assert "".join(part.content.removesuffix(CONTINUED_NOTICE) for part in parts) == text.rstrip()


def test_an_open_fence_is_closed_at_the_end_of_a_part_and_reopened_in_the_next() -> None:
    first, second = split("```python\n" + "x" * 400 + "\n```\ndone", 2, 400)[:2]
    assert first.content.endswith("\n```" + CONTINUED_NOTICE)
    assert second.content.startswith("```python\nx")
    assert second.content.endswith("\n```\ndone")


def test_a_fence_is_reopened_with_at_most_32_characters_of_its_info_string() -> None:
    """A long info string would fill every part."""
    second = split("```" + "a" * 100 + "\n" + "code\n" * 200, 3, 500)[1]
    assert second.content.startswith("```" + "a" * 32 + "\n")


def test_the_last_part_is_truncated_if_there_are_too_few_parts() -> None:
    parts = split("x" * 5000, 2, 1000)
    assert len(parts) == 2
    assert parts[1].content.endswith(CUT_NOTICE)
    assert parts[1].truncated_bytes > 0


def test_splitting_into_one_part_is_the_same_as_rendering() -> None:
    assert split("x" * 5000, 1, 1000) == [render("x" * 5000, 1000)]


def test_reasoning_is_not_rendered_and_not_counted_as_cut_off() -> None:
    assert render("<think>" + "hm" * MARKDOWN_BYTES + "</think>\n\nyes") == Rendered("yes")
    long = "x" * 500
    assert render(f"<think>hm</think>{long}", 400) == render(long, 400)
    assert render("<think>hm").content == ""
    assert render("<th\x00ink>hm</think>yes").content == "yes"


def test_reasoning_is_in_no_part_of_a_long_answer() -> None:
    parts = split("<think>" + "hm" * 500 + "</think>" + "x" * 600 + "<think>hm</think>" + "y" * 300, 9, 400)
    assert "".join(part.content.removesuffix(CONTINUED_NOTICE) for part in parts) == "x" * 600 + "y" * 300


def test_a_tag_at_the_beginning_of_the_last_part_belongs_to_the_code_before_it() -> None:
    """The beginning of its code span is in the part before."""
    text = "`" + "x" * 500 + "</think>`"
    first, last = split(text, 2, 400)
    assert first.content.removesuffix(CONTINUED_NOTICE) + last.content == text


class TestProgress:
    @pytest.mark.parametrize("text", ["half of", "汉", "white space at the end \n", "```\ncode\n```", "a\n\n- b"])
    def test_a_text_without_an_open_fence_is_unchanged(self, text: str) -> None:
        assert render_progress(text) == text

    @pytest.mark.parametrize(
        "text", ["", " \n", "\u200b\x07", "<think>hm, hm", "<think>hm</think>\n", "<", "<thi", "hm</think>"]
    )
    def test_a_text_with_nothing_to_see_is_empty(self, text: str) -> None:
        assert render_progress(text) == ""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("```python\ncode", "```python\ncode\n```"),
            ("- a\n  ~~~~\n  code\n", "- a\n  ~~~~\n  code\n  ~~~~"),
            ("```", "```\n```"),
            ("<think>hm</think>\n```\n<think>", "```\n<think>\n```"),
        ],
    )
    def test_an_open_fence_is_closed(self, text: str, expected: str) -> None:
        assert render_progress(text) == expected

    def test_control_characters_are_removed_and_half_characters_replaced(self) -> None:
        assert render_progress("a\x00\x1b[31mb\ud83d") == "ab\ufffd"

    @pytest.mark.parametrize("piece", ["x", "汉", "👨‍👩‍👧", "```\n汉\n", "~~~\ncode\n"])
    def test_a_text_over_the_limit_is_cut_without_a_notice(self, piece: str) -> None:
        text = piece * MARKDOWN_BYTES
        shown = render_progress(text)
        assert MARKDOWN_BYTES - size(piece) - size("\n```") < size(shown) <= MARKDOWN_BYTES
        assert text.startswith(shown.removesuffix("```").removesuffix("~~~").rstrip("\n"))

    def test_a_text_of_exactly_the_limit_with_an_open_fence_is_cut(self) -> None:
        shown = render_progress("```\n" + "x" * (MARKDOWN_BYTES - 4))
        assert size(shown) == MARKDOWN_BYTES
        assert shown.endswith("x\n```")

    def test_the_time_is_linear_in_the_length_of_the_text(self) -> None:
        """About 50 ms for a million characters on a busy machine."""
        started_at = time.process_time()
        render_progress("\t```\n<think>hm</think>\n汉" * 40_000)
        assert time.process_time() - started_at < 5


def test_no_repr_contains_the_text() -> None:
    assert "canary" not in repr(render("canary"))


@pytest.mark.parametrize(("language", "word"), [("zh", "截断"), ("en", "too long"), ("fr", "too long")])
def test_the_notice_of_a_cut_is_in_the_language_of_the_reader(language: str, word: str) -> None:
    content = render("x" * 500, 400, language=language).content
    assert len(content.encode()) <= 400
    assert [each for each in ("截断", "too long") if each in content] == [word]


@pytest.mark.parametrize(("language", "word"), [("zh", "未完"), ("en", "Continued")])
def test_the_notice_of_a_continuation_is_in_the_language_of_the_reader(language: str, word: str) -> None:
    splitter = Splitter("x" * 1500, 400, language=language)
    assert [each for each in ("未完", "Continued") if each in splitter.cut().content] == [word]
    assert splitter.rest().content.endswith(ANSWER_CUT.text(language))
