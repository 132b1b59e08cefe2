"""Properties of rendering and splitting, and of the removal of reasoning, for any text."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from maven_channel_wecom.policy.reasoning import without_reasoning
from maven_channel_wecom.policy.rendering import render, render_progress
from maven_channel_wecom.protocol.limits import MARKDOWN_BYTES
from maven_channel_wecom.sentences import ANSWER_CONTINUED, ANSWER_CUT
from tests.fakes.splitting import split

CUT_NOTICE = ANSWER_CUT.en
CONTINUED_NOTICE = ANSWER_CONTINUED.en

# The strings that make cutting difficult: fences, line ends, wide characters and grapheme clusters.
fragments = st.sampled_from(
    [
        "```",
        "````",
        "~~~",
        "`",
        "\n",
        "\r\n",
        "\r",
        "\u2028",
        "  ",
        "- ",
        "> ",
        "汉",
        "e\u0301",
        "👨‍👩‍👧",
        "🇨🇳",
        "x",
        " ",
        "word",
    ]
)
markdown = st.lists(fragments | st.text(max_size=5), max_size=120).map("".join)
limits = st.integers(250, 600)

tags = st.sampled_from(["<think>", "</think>", "<THINK>", "</Think>", "<", "<thi", "ink>", "/"])
tagged = st.lists(fragments | tags | st.text(max_size=5), max_size=60).map("".join)

# An answer made of pieces, each with what is shown of it. A reasoning may hold anything but its end.
words = st.sampled_from(["word", "汉", " ", "\n", "\n\n", "- ", "<b>"]).map(lambda word: (word, word))
code = st.sampled_from(
    [" `<think>` ", " ``</think> ` `` ", "\n\n```\n<think>\n\n```\n\n", "\n\n~~~ x\n</think>`\n~~~\n\n"]
).map(lambda text: (text, text))
reasonings = tagged.filter(lambda text: "</think>" not in text.lower()).map(lambda text: (f"<think>{text}</think>", ""))
answers = st.lists(words | code | reasonings, max_size=20)


def has_open_fence(text: str) -> bool:
    """Return whether a code fence is open at the end of a text, by CommonMark's rule and independently of our code."""
    mark = ""
    for line in re.split(r"\r\n|\n|\r", text):
        found = re.match(r" {0,3}(`{3,}|~{3,})(.*)$", line)
        if not found:
            continue
        if not mark:
            mark = "" if found[1][0] == "`" and "`" in found[2] else found[1]
        elif found[1].startswith(mark) and not found[2].strip():
            mark = ""
    return bool(mark)


@given(markdown, limits)
def test_a_rendered_text_is_within_the_limit_and_unchanged_when_rendered_again(text: str, limit: int) -> None:
    rendered = render(text, limit)
    assert len(rendered.content.encode()) <= limit
    assert not rendered.truncated_bytes or rendered.content.endswith(CUT_NOTICE)
    assert render(rendered.content, limit).content == rendered.content


@given(markdown, limits)
def test_a_cut_text_has_no_open_fence(text: str, limit: int) -> None:
    rendered = render(text, limit)
    if rendered.truncated_bytes:
        assert not has_open_fence(rendered.content)


@given(markdown, limits, st.integers(1, 6))
def test_all_parts_but_the_last_are_within_the_limit_with_a_notice_and_no_open_fence(
    text: str, limit: int, count: int
) -> None:
    parts = split(text, count, limit)
    assert len(parts) <= count
    for part in parts[:-1]:
        assert len(part.content.encode()) <= limit
        assert part.content.endswith(CONTINUED_NOTICE)
        assert not has_open_fence(part.content)
    assert all(part.truncated_bytes == 0 for part in parts[:-1])


def without_tags(text: str) -> str:
    """Return a text without code and without its reasoning, found by one tag after another."""
    shown, is_reasoning = "", False
    for piece in re.split("(?i)(</?think>)", text):
        if piece.lower() == "<think>":
            is_reasoning = True
        elif piece.lower() == "</think>":
            shown, is_reasoning = shown if is_reasoning else "", False
        elif not is_reasoning:
            shown += piece
    return shown


@given(tagged.map(lambda text: re.sub("[`~]", "", text)))
def test_only_reasoning_and_white_space_around_it_is_removed_from_a_text_without_code(text: str) -> None:
    shown = without_reasoning(text)
    assert "".join(shown.split()) == "".join(without_tags(text).split())
    if not re.search("(?i)</?think>", text):
        assert shown == text


@given(answers)
def test_code_is_shown_with_its_tags_and_reasoning_is_not_whatever_it_holds(answer: list[tuple[str, str]]) -> None:
    text = "".join(written for written, _ in answer)
    shown = without_reasoning(text)
    assert "".join(shown.split()) == "".join("".join(visible for _, visible in answer).split())


@given(answers)
def test_no_reasoning_is_shown_while_a_text_grows(answer: list[tuple[str, str]]) -> None:
    text = "".join(written for written, _ in answer)
    whole = "".join(without_reasoning(text).split())
    for length in range(len(text)):
        shown = "".join(without_reasoning(text[:length], unfinished=True).split())
        assert whole.startswith(shown)


@given(tagged, st.sampled_from([1, 500]))
def test_a_frame_of_a_growing_text_is_within_the_limit_and_has_no_open_fence(text: str, count: int) -> None:
    """Marks of more than 32 characters are no fences to us."""
    assume(not re.search("`{33}|~{33}", text))
    frame = render_progress(f"{text}\n" * count)
    assert len(frame.encode()) <= MARKDOWN_BYTES
    assert not has_open_fence(frame)
    assert frame == "" or not frame.isspace()


@given(tagged, limits)
def test_a_rendered_text_with_tags_is_within_the_limit(text: str, limit: int) -> None:
    assert len(render(text, limit).content.encode()) <= limit
