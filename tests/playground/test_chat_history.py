"""What people see in their chats, and what is sent for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.playground import chat_history
from maven_channel_wecom.playground.chat_history import BotEntry, ChatHistory, PersonEntry, text_of
from maven_channel_wecom.playground.fault_buttons import fault_button
from maven_channel_wecom.protocol.callback import TextItem
from maven_channel_wecom.simulator.messages import EnterChat, File, Image, Mixed, Text, Voice
from tests.playground.conftest import until_answered, view

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import Mode
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot


async def until_sent(history: ChatHistory, entry: PersonEntry) -> None:
    while entry.status is None:
        await history.changed(history.version)


async def test_a_streamed_answer_grows_in_one_entry(history: ChatHistory) -> None:
    seen = view()
    asked = history.write(seen.chat, "lina", Text("hi"))
    await until_answered(history)
    person, bot = history.in_chat(seen.chat)
    assert isinstance(bot, BotEntry)
    assert (person, asked.status, asked.number, bot.number) == (asked, 200, 1, 2)
    assert (bot.content, bot.growing, bot.form, bot.message_id) == ("one **two**", False, "stream", asked.message_id)
    record = history.records[asked.message_id]
    assert (len(record.callbacks), record.refresh_count, record.replies, record.offences) == (1, 1, [], [])


async def test_a_single_reply_is_shown_with_its_right_to_be_rated(history: ChatHistory) -> None:
    asked = history.write(view().chat, "lina", Text("hi"), mode="reply")
    await until_answered(history)
    bot = history.entries[-1]
    assert isinstance(bot, BotEntry)
    assert (bot.content, bot.form, bot.feedback_id) == ("hi", "reply", "f1")
    assert history.records[asked.message_id].spent_after is not None


async def test_a_fault_of_replies_needs_a_reply_and_one_of_refreshes_a_stream(history: ChatHistory) -> None:
    chat = view().chat
    asked: tuple[tuple[Mode, str], ...] = (("stream", "code"), ("reply", "refresh"), ("reply", "expired"))
    written = [history.write(chat, "lina", Text("hi"), mode=mode, fault=fault_button(fault)) for mode, fault in asked]
    assert [entry.mode for entry in written] == ["reply", "stream", "reply"]
    assert [history.records[entry.message_id].fault for entry in written] == ["code", "refresh", "expired"]


async def test_a_group_is_seen_by_everybody_and_a_single_chat_by_one(history: ChatHistory) -> None:
    history.write(view("lina", group=True).chat, "lina", Text("@Maven hi"))
    history.write(view("lina").chat, "lina", Text("hi"))
    assert [
        len(history.in_chat(view(user, group=group).chat)) for user in ("lina", "zhangwei") for group in (True, False)
    ] == [1, 1, 1, 0]


async def test_the_bot_gets_sender_group_and_quote(history: ChatHistory, streaming: Bot) -> None:
    seen = view("wangfang", group=True)
    first = history.write(seen.chat, "wangfang", Text("@Maven old"))
    await until_sent(history, first)
    second = history.write(seen.chat, "lina", Text("@Maven new"), quoting=first)
    await until_sent(history, second)
    callback = (
        streaming.received[-1] if streaming.received[-1].message_id == second.message_id else streaming.received[-2]
    )
    assert (callback.sender_id, callback.chat_id) == ("lina", "wrProductTeam")
    assert callback.quoted_items == (TextItem("@Maven old"),)


async def test_a_message_can_be_sent_again(history: ChatHistory, replying: Bot) -> None:
    entry = history.write(view().chat, "lina", Text("hi"), mode="reply")
    await until_answered(history)
    history.send_again(entry)
    record = history.records[entry.message_id]
    while len(record.callbacks) < 2:
        await history.changed(history.version)
    assert (entry.copies, len(history.entries)) == (2, 2)
    assert [callback.message_id for callback in replying.received] == [entry.message_id] * 2


async def test_an_answer_can_be_rated_and_the_rating_withdrawn(history: ChatHistory, replying: Bot) -> None:
    history.write(view().chat, "lina", Text("hi"), mode="reply")
    await until_answered(history)
    bot = history.entries[-1]
    assert isinstance(bot, BotEntry)
    over: asyncio.Queue[object] = asyncio.Queue()
    history.wecom.recorded.observers.append(over.put_nowait)
    history.rate(bot, "lina", "bad")
    assert bot.rating == "bad"
    history.rate(bot, "lina", "withdraw")
    assert bot.rating == ""
    while sum(callback.event is not None for callback in replying.received) < 2:
        await over.get()


async def test_entering_the_chat_shows_the_welcome(history: ChatHistory) -> None:
    entry = history.write(view().chat, "lina", EnterChat(), mode="reply")
    await until_answered(history)
    bot = history.entries[-1]
    assert isinstance(bot, BotEntry)
    assert (bot.content, bot.form) == ("welcome", "welcome")
    assert not history.records[entry.message_id].has_window


async def test_a_bot_that_is_not_there_is_status_0(history: ChatHistory) -> None:
    history.modes["stream"] = "http://127.0.0.1:1/wecom/bot"
    entry = history.write(view().chat, "lina", Text("hi"))
    await until_sent(history, entry)
    assert entry.status == 0


async def test_the_url_check_is_remembered(history: ChatHistory) -> None:
    history.check_url()
    await history.changed(history.version)
    assert history.url_check is not None
    assert history.url_check.passed


async def test_only_what_changed_is_returned_after_a_version(history: ChatHistory) -> None:
    chat = view().chat
    first = history.write(chat, "lina", Text("hi"), mode="reply")
    version = history.version
    second = history.write(chat, "lina", Text("ho"), mode="reply")
    assert history.in_chat(chat, after=version) == [second]
    assert history.find(first.number) is first
    assert history.find(99) is None


async def test_the_oldest_entries_and_their_records_disappear(history: ChatHistory) -> None:
    history.modes = {"stream": "http://127.0.0.1:1/", "reply": "http://127.0.0.1:1/"}
    for _ in range(chat_history.MAX_ENTRIES + 3):
        history.write(view().chat, "lina", Text("hi"))
    assert len(history.entries) == len(history.records) == chat_history.MAX_ENTRIES


async def test_the_oldest_disappear_also_when_everything_together_is_too_large(
    wecom: SimulatedWeCom, replying: Bot
) -> None:
    history = ChatHistory(wecom, {"reply": replying.url}, max_bytes=200_000)
    chat = view().chat
    pictures = [history.write(chat, "lina", Image(bytes(80_000)), mode="reply") for _ in range(3)]
    assert history.entries == pictures[1:]
    assert history.find(pictures[0].number) is None
    last = history.write(chat, "lina", Image(bytes(300_000)), mode="reply")
    assert history.entries == [last]
    assert list(history.records) == [last.message_id]
    await history.close()


async def test_what_travelled_counts_and_is_forgotten_everywhere(wecom: SimulatedWeCom, streaming: Bot) -> None:
    """Its plaintext is small, but a bot can answer with much."""
    history = ChatHistory(wecom, {"stream": streaming.url}, max_bytes=4_000)
    asked, bubbles = [], []
    for number in range(1, 6):
        asked.append(history.write(view().chat, "lina", Text(f"hi {number}")))
        await until_sent(history, asked[-1])
        bubbles.append(wecom.recorded.bubbles[asked[-1].message_id])
    assert history.find(asked[0].number) is None
    assert history.find(asked[-1].number) is asked[-1]
    assert asked[0].message_id not in history.records
    async with asyncio.timeout(10):
        await bubbles[0].finished()
    assert asked[0].message_id not in wecom.recorded.bubbles
    await history.close()


async def test_a_stream_whose_message_has_disappeared_is_refreshed_to_its_end(
    wecom: SimulatedWeCom, streaming: Bot
) -> None:
    history = ChatHistory(wecom, {"stream": streaming.url}, max_bytes=100_000)
    asked = history.write(view().chat, "lina", Text("hi"))
    await until_sent(history, asked)
    bubble = wecom.recorded.bubbles[asked.message_id]
    history.write(view().chat, "lina", Image(bytes(200_000)))
    assert history.find(asked.number) is None
    assert not bubble.is_finished
    async with asyncio.timeout(10):
        await bubble.finished()
    assert asked.message_id not in wecom.recorded.bubbles
    assert wecom.recorded.offences == []
    await history.close()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Text("a"), "a"),
        (Voice("a"), "a"),
        (Mixed((Text("a"), Image(b""))), "a"),
        (File(b"", "a.txt"), "a.txt"),
        (Image(b""), ""),
    ],
)
async def test_the_text_of_each_kind(history: ChatHistory, message: Text, expected: str) -> None:
    assert text_of(history.write(view().chat, "lina", message)) == expected


async def test_no_text_stands_in_the_representation_of_an_entry(history: ChatHistory) -> None:
    asked = history.write(view().chat, "lina", Text("between us"), quoting=None)
    await until_answered(history)
    assert repr((asked, history.entries[-1])) == "(<PersonEntry 1>, <BotEntry 2>)"
