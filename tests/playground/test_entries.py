"""Bubbles, the list of chats, and announcements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground.chat_history import BotEntry, ChatHistory
from maven_channel_wecom.playground.entries import announcement, avatar, clock_time, errcode, render_chats, render_entry
from maven_channel_wecom.playground.fault_buttons import fault_button
from maven_channel_wecom.playground.page import address
from maven_channel_wecom.playground.sample_picture import sample_picture
from maven_channel_wecom.simulator.messages import EnterChat, File, Image, Mixed, Text, Voice
from tests.playground.conftest import until_answered, view

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import Written


async def test_own_messages_stand_on_the_other_side_than_those_of_others(history: ChatHistory) -> None:
    entry = history.write(view("lina", group=True).chat, "lina", Text("@Maven <b>hi</b>"))
    own = render_entry(entry, history, view("lina", group=True))
    other = render_entry(entry, history, view("zhangwei", group=True, language="zh"))
    assert own.startswith('<li id="entry-1" class="entry own">')
    assert other.startswith('<li id="entry-1" class="entry other">')
    assert "Li Na" in own
    assert "李娜" in other
    assert '<span class="mention">@Maven</span> &lt;b&gt;hi&lt;/b&gt;' in own


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Voice("spoken"), "voice transcript"),
        (Image(sample_picture()), '<img src="/pictures/1" alt="picture from Li Na" class="picture">'),
        (File(b"abc", "a<b>.txt"), "<b>a&lt;b&gt;.txt</b><small>3 bytes</small>"),
        (Mixed((Text("see"), Image(sample_picture()))), '<p class="text">see</p><img src="/pictures/1"'),
    ],
)
async def test_each_kind_has_its_bubble(history: ChatHistory, message: Written, expected: str) -> None:
    entry = history.write(view().chat, "lina", message)
    assert expected in render_entry(entry, history, view())


async def test_a_message_says_how_its_sending_ended(history: ChatHistory) -> None:
    entry = history.write(view().chat, "lina", Text("hi"), fault=fault_button("busy"))
    seen = render_entry(entry, history, view())
    assert "sending" in seen
    assert "fault: Busy −1" in seen
    for status, words in ((200, "acknowledged"), (503, "the bot answered 503"), (0, "the bot does not answer")):
        entry.status = status
        assert words in render_entry(entry, history, view())
    entry.copies = 2
    assert "sent 2 times" in render_entry(entry, history, view())


async def test_a_reply_that_failed_is_said_below_the_message(history: ChatHistory) -> None:
    entry = history.write(view().chat, "lina", Text("hi"), fault=fault_button("code"))
    record = history.records[entry.message_id]
    while not record.replies:
        await history.changed(history.version)
    assert "The reply failed: see the details" in render_entry(entry, history, view())


async def test_an_answer_grows_with_dots_and_is_rated_when_it_is_complete(history: ChatHistory) -> None:
    history.write(view(group=True).chat, "lina", Text("@Maven hi"), mode="reply")
    await until_answered(history)
    bot = history.entries[-1]
    assert isinstance(bot, BotEntry)
    seen = view("zhangwei", group=True)
    html = render_entry(bot, history, seen)
    assert '<blockquote class="quoted">Li Na: @Maven hi</blockquote>' in html
    assert html.count('data-action="rate"') == 2
    assert 'aria-label="Helpful"' in html
    bot.rating = "good"
    assert 'aria-pressed="true" data-number="2" data-rating="withdraw"' in render_entry(bot, history, seen)
    bot.growing = True
    growing = render_entry(bot, history, seen)
    assert 'aria-busy="true"' in growing
    assert 'class="dots"' in growing
    assert 'data-action="rate"' not in growing


async def test_a_screen_reader_hears_the_beginning_and_the_whole_text(history: ChatHistory) -> None:
    history.write(view().chat, "lina", Text("hi"), mode="reply")
    await until_answered(history)
    bot = history.entries[-1]
    assert isinstance(bot, BotEntry)
    assert announcement(bot, view()) == "Maven answered: hi"
    bot.growing = True
    assert announcement(bot, view(language="zh")) == "Maven 正在回答…"


async def test_entering_a_chat_is_a_line_between_the_bubbles(history: ChatHistory) -> None:
    entry = history.write(view().chat, "lina", EnterChat(), mode="reply")
    assert 'class="entry notice"' in render_entry(entry, history, view())


async def test_the_list_of_chats_shows_the_last_words_without_markdown(history: ChatHistory) -> None:
    seen = view("lina")
    history.write(view(group=True).chat, "zhangwei", Text("# @Maven **hi**"))
    html = render_chats(history, seen, address(seen, chat="{chat}"))
    assert html.count("<li>") == 3
    assert "Zhang Wei: @Maven hi" in html
    assert 'href="/?as=lina&amp;chat=single:lina&amp;lang=en" aria-current="page"' in html


def test_a_chinese_name_is_shortened_to_its_last_character() -> None:
    assert ">娜<" in avatar("lina", view(language="zh"))
    assert ">L<" in avatar("lina", view())
    assert view().name("unknown") == "unknown"


def test_the_time_of_day_has_hours_and_minutes() -> None:
    assert len(clock_time(0.0)) == 5


@pytest.mark.parametrize(
    ("answer", "expected"), [(b'{"errcode": -1}', -1), (b'{"errcode": "0"}', None), (b"[]", None), (b"<html>", None)]
)
def test_the_errcode_is_read_only_from_wecoms_json(answer: bytes, expected: int | None) -> None:
    assert errcode(answer) == expected
