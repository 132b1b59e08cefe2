"""Removal of the reasoning that a model writes into its answer."""

import time

import pytest

from maven_channel_wecom.policy.reasoning import without_reasoning

REASONING = "<think>hm, hm</think>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("no reasoning", "no reasoning", id="none"),
        pytest.param("<think>hm</think>yes", "yes", id="at-the-beginning"),
        pytest.param("<THINK>hm</Think>yes", "yes", id="upper-case"),
        pytest.param("yes <think>hm</think>and no", "yes and no", id="in-the-middle"),
        pytest.param("yes<think>hm</think>", "yes", id="at-the-end"),
        pytest.param("<think>a</think>1<think>b</think>2", "12", id="several"),
        pytest.param("<think>\nhm\n\n- a\n</think>yes", "yes", id="several-lines"),
        pytest.param("<think></think>yes", "yes", id="empty"),
        pytest.param("<think>hm</think>", "", id="nothing-else"),
        pytest.param("yes<think>hm", "yes", id="never-closed"),
        pytest.param("<think>hm", "", id="only-one-that-is-never-closed"),
        pytest.param("<think>hm</thin", "", id="closed-by-half-a-tag"),
        pytest.param("hm</think>yes", "yes", id="never-opened"),
        pytest.param("a<think>b</think>c</think>yes", "yes", id="closed-twice"),
        pytest.param("<think>I write <think> and </think>yes", "yes", id="opened-twice"),
        pytest.param("<think>a `b</think>yes `no`", "yes `no`", id="with-a-backtick"),
        pytest.param("<think>\n```\n</think>\nyes <think>hm</think>no", "yes no", id="with-an-open-fence"),
        pytest.param("<thinking>aloud</thinking> < think", "<thinking>aloud</thinking> < think", id="other-tags"),
        pytest.param("<thin\u212a>yes", "<thin\u212a>yes", id="with-the-sign-of-kelvin"),
    ],
)
def test_the_text_between_the_tags_is_removed(text: str, expected: str) -> None:
    assert without_reasoning(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"```\n{REASONING}\n```\nyes", id="fence"),
        pytest.param(f"yes\n~~~~ xml\n{REASONING}\n~~~\n\n{REASONING}\n~~~~\nno", id="tildes"),
        pytest.param(f"```\n{REASONING}", id="fence-without-an-end"),
        pytest.param(f"``` {REASONING}\n```", id="info-string"),
        pytest.param(f"use `{REASONING}` here", id="span"),
        pytest.param(f"use `` ` {REASONING} ` `` here", id="span-of-two"),
        pytest.param(f"use `over\n{REASONING}\nlines` here", id="span-over-lines"),
        pytest.param("use `<think>` and `</think>` here", id="two-spans"),
        pytest.param(f"``` ``\n`{REASONING}`", id="after-marks-that-open-no-code"),
    ],
)
def test_tags_in_code_are_text(text: str) -> None:
    assert without_reasoning(text) == text
    assert without_reasoning(text, unfinished=True) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"```\ncode\n```\n{REASONING}yes", "```\ncode\n```\nyes", id="after-a-fence"),
        pytest.param(f"`code` {REASONING}yes", "`code` yes", id="after-a-span"),
        pytest.param(f"a ` and {REASONING}yes", "a ` and yes", id="after-a-single-backtick"),
        pytest.param(f"a ` and `` {REASONING}yes ```", "a ` and `` yes ```", id="between-unequal-runs"),
        pytest.param(f"a ` and\n\n{REASONING}yes `", "a ` and\n\nyes `", id="between-paragraphs"),
        pytest.param(f"a ` and\r\n \r\n{REASONING}yes `", "a ` and\r\n \r\nyes `", id="between-paragraphs-of-crlf"),
        pytest.param(f"a ` and\r\r{REASONING}yes `", "a ` and\r\ryes `", id="between-paragraphs-of-cr"),
        pytest.param(f"a `\n```\n`\n```\n{REASONING}yes", "a `\n```\n`\n```\nyes", id="around-a-fence"),
        pytest.param("a `b\n</think>\n\nyes `no`", "yes `no`", id="never-opened-and-with-a-backtick"),
    ],
)
def test_tags_outside_of_code_are_none_of_its_text(text: str, expected: str) -> None:
    assert without_reasoning(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"{REASONING}\n\nyes", "yes", id="after-it"),
        pytest.param(f"\n \n{REASONING}yes", "yes", id="before-it"),
        pytest.param(f"\r\n{REASONING}\r\n \t\r\nyes", "yes", id="around-it"),
        pytest.param(f"{REASONING}\n{REASONING}\n\nyes", "yes", id="between-two"),
        pytest.param("hm\n</think>\n\nyes", "yes", id="after-one-that-was-never-opened"),
        pytest.param(f"{REASONING}\n\n    code", "    code", id="but-not-the-indent"),
        pytest.param(f"yes\n\n{REASONING}\n\nno", "yes\n\nno", id="in-the-middle"),
        pytest.param(f"yes{REASONING}\n\nno", "yes\n\nno", id="but-not-the-end-of-a-paragraph"),
        pytest.param("\n\nyes", "\n\nyes", id="but-not-without-reasoning"),
        pytest.param(f"{REASONING}\n \n", "", id="with-nothing-after-them"),
    ],
)
def test_blank_lines_around_a_reasoning_go_with_it(text: str, expected: str) -> None:
    assert without_reasoning(text) == expected


@pytest.mark.parametrize("length", range(1, len("</think")))
@pytest.mark.parametrize("tag", ["<think>", "</THINK>"])
def test_half_a_tag_is_removed_from_the_end_of_a_text_that_still_grows(tag: str, length: int) -> None:
    half = tag[: min(length, len(tag) - 1)]
    assert without_reasoning(f"yes{half}", unfinished=True) == "yes"
    assert without_reasoning(half, unfinished=True) == ""
    assert without_reasoning(f"yes{half}") == f"yes{half}"
    assert without_reasoning(f"```\nyes{half}", unfinished=True) == f"```\nyes{half}"
    assert without_reasoning(f"{REASONING}{half}", unfinished=True) == ""


@pytest.mark.parametrize("end", ["<thing", "<a", "a <b>", "think", "<think x", "< ", "<<"])
def test_other_ends_of_a_text_that_still_grows_are_kept(end: str) -> None:
    assert without_reasoning(end, unfinished=True).startswith(end[:-1])
    assert without_reasoning(end + " ", unfinished=True) == end + " "


def test_a_text_that_grows_shows_nothing_of_its_reasoning() -> None:
    text = "Let me see. <think>secret</think>`<think>` is a tag.\n\n<think>secret"
    for length in range(len(text) + 1):
        shown = without_reasoning(text[:length], unfinished=True)
        assert "Let me see. `<think>` is a tag.\n\n".startswith(shown)


@pytest.mark.parametrize("tag", ["<think>", "</think>"])
def test_a_text_that_grows_ends_before_a_tag_that_may_become_code(tag: str) -> None:
    assert without_reasoning(f"The tag `{tag}", unfinished=True) == "The tag `"
    assert without_reasoning(f"The tag `{tag}` is", unfinished=True) == f"The tag `{tag}` is"
    assert without_reasoning(f"The tag `{tag}\n\nyes", unfinished=True) == without_reasoning(f"The tag `{tag}\n\nyes")


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(REASONING, id="reasonings"),
        pytest.param("<think>", id="openings"),
        pytest.param("x\n</think>", id="closings"),
        pytest.param("<", id="half-tags"),
        pytest.param("<think" + " " * 100, id="half-tags-and-white-space"),
        pytest.param("` `` ", id="backticks"),
        pytest.param("`\n", id="backticks-on-lines"),
        pytest.param("`<think>` ", id="spans"),
        pytest.param(" ".join("`" * length for length in range(1, 500)) + REASONING, id="runs-of-many-lengths"),
        pytest.param("```\n~~~\n", id="fences"),
        pytest.param("``` `\n", id="lines-that-are-no-fences"),
        pytest.param("```\n<think>\n```\n", id="tags-in-fences"),
        pytest.param(REASONING + "\n" * 100, id="blank-lines"),
        pytest.param(REASONING + " " * 100, id="white-space"),
    ],
)
def test_the_time_is_linear_in_the_length_of_the_text(piece: str) -> None:
    """At most 0.6 s for a million characters on a busy machine; a time that grows with the square is many minutes."""
    text = piece * (1_000_000 // len(piece)) + REASONING
    started_at = time.process_time()
    without_reasoning(text, unfinished=True)
    assert time.process_time() - started_at < 5
