"""The whole page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground.page import FOLDER, address, page_template, render_page
from maven_channel_wecom.simulator.messages import Text
from tests.playground.conftest import view

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import ChatHistory
    from maven_channel_wecom.playground.entries import View

# Read here, because a test fails that reads a file on the event loop.
TEMPLATE = page_template()


def page(history: ChatHistory, seen: View) -> str:
    return render_page(history, seen, TEMPLATE, token="the-token", instance="i1")


@pytest.mark.parametrize(("language", "expected"), [("zh", 'lang="zh-CN"'), ("en", 'lang="en"')])
async def test_it_is_in_one_language_and_leads_to_the_other(history: ChatHistory, language: str, expected: str) -> None:
    html = page(history, view(language=language))
    assert html.startswith(f"<!doctype html>\n<html {expected}>")
    assert f"lang={'en' if language == 'zh' else 'zh'}&quot;" in html.replace('"', "&quot;")


async def test_nothing_of_the_template_is_left(history: ChatHistory) -> None:
    html = page(history, view())
    assert "$" not in html
    assert not re.search(r"{\w+}", html)


async def test_it_shows_what_was_said_and_the_version_of_it(history: ChatHistory) -> None:
    history.write(view().chat, "lina", Text("first words"))
    html = page(history, view())
    assert "first words" in html
    assert f'data-version="{history.version}"' in html
    assert 'data-token="the-token"' in html


async def test_in_a_group_only_texts_and_pictures_can_be_sent(history: ChatHistory) -> None:
    assert page(history, view(group=True)).count(" disabled") == 2
    assert " disabled" not in page(history, view())
    assert 'data-action="enter"' not in page(history, view(group=True))


async def test_a_bot_with_one_address_has_no_choice_of_answers(history: ChatHistory) -> None:
    assert 'name="mode"' in page(history, view())
    history.modes = {}
    assert 'name="mode"' not in page(history, view())


async def test_every_id_is_unique_and_every_reference_has_a_target(history: ChatHistory) -> None:
    history.write(view().chat, "lina", Text("hi"))
    html = page(history, view())
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', html)) <= set(ids)


def test_the_script_finds_the_elements_that_it_uses() -> None:
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    html = (FOLDER / "page.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in html for name in re.findall(r'\bat\("([a-z-]+)"\)', script))


def test_addresses_keep_the_rest_of_the_view() -> None:
    assert address(view(), user="zhangwei") == "/?as=zhangwei&chat=single:lina&lang=en"
    assert address(view(), language="zh") == "/?as=lina&chat=single:lina&lang=zh"
