"""The markdown that WeCom renders, and nothing else in the page."""

from __future__ import annotations

import html
import re

import pytest

from maven_channel_wecom.playground.markdown import _PARSER, _clean, render_markdown


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


@pytest.mark.parametrize("text", ["<b>a</b>", "a <script>b</script>", "<!-- a -->", "<a href='javascript:a'>b</a>"])
def test_html_is_text_even_for_the_parser_alone(text: str) -> None:
    assert html.escape(text, quote=False) in _PARSER.render(text)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x"])
def test_a_script_address_is_no_link_even_for_the_parser_alone(address: str) -> None:
    assert "href" not in _PARSER.render(f"[a]({address})")


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", " java&#x9;script:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "vbscript:x"],
)
def test_a_script_address_that_the_parser_let_through_is_removed(address: str) -> None:
    assert _clean(f'<a href="{address}">a</a>') == '<a target="_blank" rel="noopener noreferrer">a</a>'
    assert "https://example.com" in _clean('<a href="https://example.com">a</a>')


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="alert(1)">',
        '<iframe src="https://example.com"></iframe>',
        '<form action="https://example.com"><input></form>',
    ],
)
def test_an_element_that_the_parser_let_through_is_removed(text: str) -> None:
    assert re.fullmatch("(<p></p>)+", _clean(f"<p>{text}</p>"))


@pytest.mark.parametrize("attribute", ['style="color: red"', 'onclick="alert(1)"', 'id="x"'])
def test_an_attribute_that_the_parser_let_through_is_removed(attribute: str) -> None:
    assert _clean(f"<span {attribute}>a</span>") == "<span>a</span>"


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
