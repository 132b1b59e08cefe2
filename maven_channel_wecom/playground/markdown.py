"""Renders a bot's markdown as WeCom does: the dialect `markdown_v2` of 99110, which 101138 and 101031 refer to."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import nh3
from markdown_it import MarkdownIt

from maven_channel_wecom.playground.markup import Markup, element, join, well_formed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

# 101031: WeCom folds what a model thinks, at the beginning of a streamed answer.
_THINKING: Final = re.compile(r"\s*<think>(.*?)(?:</think>(.*))?", re.DOTALL)
_ALIGNMENT: Final = re.compile(r"text-align:(left|center|right)")
_TAGS: Final = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "em", "strong", "code", "pre", "blockquote"),
    *("ul", "ol", "li", "a", "span", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES: Final = {
    "a": {"href"},
    "ol": {"start"},
    **{tag: {"class"} for tag in ("th", "td", "span")},
}

_MAX_CHARACTERS: Final = 64 * 1024
_MAX_BRACKETS: Final = 1_000
"""Above these an answer is plain text, because the time to parse it grows with the square of its open brackets: 1,000
take up to 0.25 s. Lower: long lists of links are not rendered. Higher: a strange answer delays the page."""
_KEPT_ANSWERS: Final = 256
"""Number of rendered answers that are kept. Lower: each open page renders the same answers again. Higher: more memory,
up to some 100 KB for each."""


def _image(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """Render a picture as a link, because the page loads nothing from other addresses."""
    token = tokens[index]
    address = str(token.attrGet("src") or "")
    link = element("a", token.content or address, href=address)
    return element("span", "🖼 ", link, class_="linked-picture")


def _new_parser() -> MarkdownIt:
    # HTML is text and script addresses are no links with this preset; 99110 has no strikethrough.
    parser = MarkdownIt("js-default", {"breaks": True}).disable("strikethrough")
    parser.add_render_rule("image", _image)
    return parser


_PARSER: Final = _new_parser()


def render_markdown(text: str, *, thinking: str = "") -> Markup:
    """Return the HTML of an answer, which any thread may call and which is kept, as several pages show it.

    `thinking` is the title of what the model thought, which is folded.
    """
    return _render_answer(well_formed(text), thinking)


@lru_cache(maxsize=_KEPT_ANSWERS)
def _render_answer(text: str, thinking: str) -> Markup:
    if len(text) > _MAX_CHARACTERS or text.count("[") > _MAX_BRACKETS:
        return Markup(element("p", text).replace("\n", "<br>\n"))
    thought = _THINKING.fullmatch(text)
    if thought is None:
        return _render(text)
    folded = element("details", element("summary", thinking), _render(thought[1]), class_="thinking")
    return join(folded, _render(thought[2] or ""))


def _render(text: str) -> Markup:
    tokens = _PARSER.parse(text)
    for token in tokens:
        # The content security policy forbids style attributes.
        if alignment := _ALIGNMENT.fullmatch(str(token.attrGet("style") or "")):
            token.attrs = {"class": f"align-{alignment[1]}"}
    return Markup(_clean(_PARSER.renderer.render(tokens, _PARSER.options, {})))


def _clean(html: str) -> str:
    """Return HTML without everything that could run or load something, should the parser let it through."""
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
