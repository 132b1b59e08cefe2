"""Code fences and code spans."""

import pytest

from maven_channel_wecom.policy.markdown_code import CodeScanner, open_fence


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("text", None),
        ("```\ncode\n```", None),
        ("``` a`b\n", None),
        ("    ```\n", None),
        ("text ```\n", None),
        ("```python\ncode", "```python"),
        ("a\r\n  ~~~ a`b\r\n", "  ~~~ a`b"),
        ("````\n```\n", "````"),
        ("```\n~~~\n", "```"),
        ("```\n``` x\n", "```"),
        ("```\n```\n~~~", "~~~"),
    ],
)
def test_the_open_fence_is_the_last_one_that_no_line_closes(text: str, line: str | None) -> None:
    fence = open_fence(text)
    assert (fence[0] if fence else None) == line


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("^", ""),
        ("` ^ `", "` ^ `"),
        ("` ` ^ `", ""),
        ("`` ` ^ `` `", "`` ` ^ ``"),
        ("` `` ^ ```", ""),
        ("`\n^\n`", "`\n^\n`"),
        ("`\n\n^\n`", ""),
        ("`\n```\n^\n```\n`", "```\n^\n```"),
        ("```\n^", "```\n^"),
        ("```\n^\n~~~\n````\n^", "```\n^\n~~~\n````"),
        ("~~~ `\n^\n~~~", "~~~ `\n^\n~~~"),
        ("``` ^\n", "``` ^\n"),
        ("``` ^ `\n", ""),
        ("``` ^ ```\n", "``` ^ ```"),
        ("    ```\n^\n\n```", ""),
    ],
)
def test_the_code_around_a_position_ends_with_its_mark_or_the_text(text: str, code: str) -> None:
    position = text.index("^")
    end = CodeScanner(text).end(position)
    assert end == (text.index(code) + len(code) if code else position)


def test_marks_that_are_skipped_open_nothing() -> None:
    text = "` x ^ `"
    scanner = CodeScanner(text)
    scanner.skip(text.index("x"))
    assert scanner.end(text.index("^")) == text.index("^")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("` ^", True), ("`` ` ` ^", True), ("` ` ^", False), ("`\n\n^", False), ("` ^\n\n", False), ("^ `", False)],
)
def test_a_position_after_an_unequal_run_may_become_code(text: str, *, expected: bool) -> None:
    scanner = CodeScanner(text)
    scanner.end(text.index("^"))
    assert scanner.may_be_code is expected


def test_positions_are_found_one_after_another() -> None:
    text = "^ `^` ^ `^`\n\n```\n^\n```\n^ ` ^"
    scanner = CodeScanner(text)
    positions = [index for index, character in enumerate(text) if character == "^"]
    assert [scanner.end(position) > position for position in positions] == [
        False,
        True,
        False,
        True,
        True,
        False,
        False,
    ]
