"""The markdown that WeCom renders, and nothing else in the page."""

from __future__ import annotations

import pytest

from maven_channel_wecom.playground.markdown import render_markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One", "<h1>One</h1>"),
        ("###### Six", "<h6>Six</h6>"),
        ("*a* **b** `c`", "<p><em>a</em> <strong>b</strong> <code>c</code></p>"),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("---", "<hr>"),
        ("3. a", '<ol start="3">\n<li>a</li>\n</ol>'),
        (">> a", "<blockquote>\n<blockquote>\n<p>a</p>\n</blockquote>\n</blockquote>"),
        ("```py\n<b>\n```", "<pre><code>&lt;b&gt;\n</code></pre>"),
    ],
)
def test_what_wecom_documents_is_rendered(text: str, expected: str) -> None:
    assert render_markdown(text).strip() == expected


def test_a_list_in_a_list_and_an_aligned_table_are_rendered() -> None:
    assert render_markdown("- a\n    - b").count("<ul>") == 2
    table = render_markdown("| a | b |\n|:-:|--:|\n| 1 | 2 |")
    assert '<th class="align-center">a</th>' in table
    assert '<td class="align-right">2</td>' in table


@pytest.mark.parametrize("text", ["#a", "~~gone~~", '<font color="red">a</font>', "<@lina>"])
def test_what_wecom_does_not_render_stays_text(text: str) -> None:
    rendered = render_markdown(text)
    assert rendered.startswith("<p>")
    assert "<p><" not in rendered
    assert "<s>" not in rendered


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html,x)",
        "![a](javascript:alert(1))",
        '[a](https://example.com "x\\" onclick=alert(1)")',
        "<think><script>alert(1)</script></think>",
    ],
)
def test_no_script_gets_into_the_page(text: str) -> None:
    rendered = render_markdown(text).lower()
    assert "<script" not in rendered
    assert "<img" not in rendered
    assert 'href="javascript' not in rendered
    assert 'href="data' not in rendered
    assert "onclick=alert(1)>" not in rendered


def test_a_link_opens_a_new_page_that_knows_nothing_of_this_one() -> None:
    link = render_markdown("[a](https://example.com)")
    assert 'target="_blank"' in link
    assert 'rel="noopener noreferrer"' in link


def test_a_picture_is_a_link_because_the_page_loads_nothing_from_elsewhere() -> None:
    rendered = render_markdown("![hills](https://example.com/a.png)")
    assert 'href="https://example.com/a.png"' in rendered
    assert ">hills</a>" in rendered
    assert "<img" not in rendered


def test_what_a_model_thinks_is_folded_even_while_it_grows() -> None:
    whole = render_markdown("<think>hm</think>\n\n**yes**", thinking="Thought")
    assert whole.startswith('<details class="thinking"><summary>Thought</summary><p>hm</p>')
    assert whole.strip().endswith("</details><p><strong>yes</strong></p>")
    assert "<p>hm</p>" in render_markdown("<think>hm", thinking="Thought")


def test_half_a_character_is_shown_as_an_escape() -> None:
    assert render_markdown("a \ud800 **b**") == "<p>a \\ud800 <strong>b</strong></p>\n"


@pytest.mark.parametrize("text", ["[" * 20_000, "**a**\n" * 20_000], ids=["brackets", "length"])
def test_what_takes_long_to_parse_is_plain_text(text: str) -> None:
    assert render_markdown(text) == "<p>" + text.replace("\n", "<br>\n") + "</p>"


def test_an_answer_is_rendered_once_for_all_pages() -> None:
    assert render_markdown("once *for* all") is render_markdown("once *for* all")
