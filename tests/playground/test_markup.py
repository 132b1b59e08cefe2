"""HTML in which every text is escaped."""

from __future__ import annotations

from maven_channel_wecom.playground.markup import Markup, element, icon, join


def test_texts_and_attributes_are_escaped() -> None:
    assert element("p", "<b>", title='"x" & <y>') == '<p title="&quot;x&quot; &amp; &lt;y&gt;">&lt;b&gt;</p>'


def test_elements_within_elements_are_not_escaped_again() -> None:
    assert element("p", element("b", "a & b"), None) == "<p><b>a &amp; b</b></p>"
    assert join("<", Markup("<br>"), None, "") == "&lt;<br>"


def test_attributes_may_be_flags_or_missing_and_an_empty_one_stays() -> None:
    made = element("input", disabled=True, checked=False, id=None, value="", data_x="1", class_="c")
    assert made == '<input disabled value="" data-x="1" class="c">'


def test_screen_readers_skip_icons() -> None:
    assert icon("bot") == '<svg class="icon" aria-hidden="true"><use href="#icon-bot"></use></svg>'
