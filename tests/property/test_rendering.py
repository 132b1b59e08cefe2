"""What holds for every text that is cut."""

import re

from hypothesis import given
from hypothesis import strategies as st

from maven_channel_wecom.policy.rendering import CONTINUED_NOTICE, CUT_NOTICE, render, split

# Made of what makes cutting hard: fences, marks, wide characters, joined ones.
pieces = st.sampled_from(
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
markdown = st.lists(pieces | st.text(max_size=5), max_size=120).map("".join)
limits = st.integers(250, 600)


def open_fences(text: str) -> bool:
    """Tell, by CommonMark's rule and not by our code, whether a fence is open at the end."""
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
def test_a_rendered_text_is_inside_the_limit_and_counts_what_it_lost(text: str, limit: int) -> None:
    """Valid UTF-8, never longer than allowed, and stable when rendered again."""
    rendered = render(text, limit)
    assert len(rendered.content.encode()) <= limit
    assert not rendered.truncated_bytes or rendered.content.endswith(CUT_NOTICE)
    assert render(rendered.content, limit).content == rendered.content


@given(markdown, limits)
def test_a_cut_text_has_no_open_fence(text: str, limit: int) -> None:
    """The notice is never part of the code."""
    rendered = render(text, limit)
    if rendered.truncated_bytes:
        assert not open_fences(rendered.content)


@given(markdown, limits, st.integers(1, 6))
def test_parts_are_inside_the_limit_and_hold_the_text(text: str, limit: int, count: int) -> None:
    """No more parts than asked for; none with an open fence but where the text itself left it open."""
    parts = split(text, count, limit)
    assert len(parts) <= count
    for part in parts[:-1]:
        assert len(part.content.encode()) <= limit
        assert part.content.endswith(CONTINUED_NOTICE)
        assert not open_fences(part.content)
    assert all(part.truncated_bytes == 0 for part in parts[:-1])
