"""Properties of rendering and splitting, for any text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.policy.rendering import render
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
