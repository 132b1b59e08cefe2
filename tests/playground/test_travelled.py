"""What really travelled, as the page shows it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from maven_channel_wecom.playground.fault_buttons import fault_button
from maven_channel_wecom.playground.labels import Labels
from maven_channel_wecom.playground.travelled import render_bot, render_record
from maven_channel_wecom.simulator.messages import EnterChat, Image, Mixed, Text
from maven_channel_wecom.simulator.offences import Offence
from maven_channel_wecom.simulator.sent import UrlCheckResult
from tests.playground.conftest import until_answered, view

if TYPE_CHECKING:
    from maven_channel_wecom.playground.chat_history import ChatHistory
    from maven_channel_wecom.playground.records import MessageRecord

EN = Labels("en")
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(20)


def shown(record: MessageRecord, *, now: float = 0.0, secrets: bool = False) -> str:
    return html.unescape(render_record(record, EN, now=now, secrets=secrets))


async def answered(history: ChatHistory, *, mode: str = "stream", fault: str = "") -> MessageRecord:
    written = history.write(
        view().chat, "lina", Text("hi <b>"), mode="reply" if mode == "reply" else "stream", fault=fault_button(fault)
    )
    await until_answered(history)
    record = history.records[written.message_id]
    while mode == "reply" and not record.replies:
        await history.changed(history.version)
    return record


async def test_a_streamed_answer_shows_callback_acknowledgement_and_refreshes(history: ChatHistory) -> None:
    record = await answered(history)
    text = shown(record)
    (callback,) = record.callbacks
    assert f"<dt>nonce</dt><dd>{callback.request.nonce}</dd>" in text
    assert '"content": "hi <b>"' in text
    assert callback.request.body.decode() in text
    assert callback.answer.body.decode() in text
    assert '"finish": false' in text
    assert "Refreshes of the stream (1)" in text
    assert "finished" in text
    assert "The response_url has not been used so far." in text
    assert "No rule was broken." in text


async def test_texts_of_people_are_escaped(history: ChatHistory) -> None:
    assert "hi <b>" not in render_record(await answered(history), EN, now=0.0, secrets=True)


async def test_rights_to_answer_are_shown_only_on_demand(history: ChatHistory) -> None:
    record = await answered(history)
    assert "response_code=" not in shown(record)
    assert '"response_url": "(hidden)"' in shown(record)
    assert "response_code=" in shown(record, secrets=True)


async def test_the_addresses_of_media_are_shown_only_on_demand(history: ChatHistory) -> None:
    chat = view().chat
    for message in (Image(PICTURE), Mixed((Text("a"), Image(PICTURE)))):
        written = history.write(chat, "lina", message, mode="reply")
        record = history.records[written.message_id]
        while not record.callbacks:
            await history.changed(history.version)
        assert "/aibot-img/" not in shown(record)
        assert '"url": "(hidden)"' in shown(record)
        assert "/aibot-img/" in shown(record, secrets=True)


async def test_a_reply_shows_its_attempt_and_the_spent_window(history: ChatHistory) -> None:
    text = shown(await answered(history, mode="reply"))
    assert "Attempt 1" in text
    assert "errcode 0" in text
    assert '"msgtype": "markdown"' in text
    assert "spent after 0." in text


async def test_a_fault_and_its_errcode_are_named(history: ChatHistory) -> None:
    written = history.write(view().chat, "lina", Text("hi"), fault=fault_button("rate"))
    record = history.records[written.message_id]
    while not record.replies:
        await history.changed(history.version)
    text = shown(record, now=record.sent_at)
    assert "errcode 45009" in text
    assert "rate limit" in text
    assert "fault Rate limit 45009" in text
    assert "open until" in text
    assert "expired at" in shown(record, now=record.sent_at + 3_600)


async def test_a_window_that_wecom_calls_invalid_is_not_open(history: ChatHistory) -> None:
    written = history.write(view().chat, "lina", Text("hi"), fault=fault_button("code"))
    record = history.records[written.message_id]
    while not record.replies:
        await history.changed(history.version)
    text = shown(record, now=record.sent_at)
    assert "no longer valid, says WeCom (errcode 60140)" in text
    assert "open until" not in text


async def test_a_reply_that_wecom_has_not_answered_yet_is_not_called_unused(history: ChatHistory) -> None:
    record = await answered(history)
    record.spent_after = 0.1
    text = shown(record)
    assert "A reply was accepted; WeCom has not answered it yet." in text
    assert "has not been used" not in text


async def test_a_lost_refresh_is_marked(history: ChatHistory) -> None:
    assert '<span class="chip bad">lost</span>' in shown(await answered(history, fault="refresh"))


async def test_an_offence_is_explained(history: ChatHistory) -> None:
    record = await answered(history)
    record.offences.append(Offence("second_use").kind)
    assert "a reply was sent to a response_url that had already been used" in shown(record)


async def test_an_event_has_no_window(history: ChatHistory) -> None:
    written = history.write(view().chat, "lina", EnterChat(), mode="reply")
    await until_answered(history)
    text = shown(history.records[written.message_id])
    assert "<h3>Event</h3>" in text
    assert "An event has no reply window." in text


async def test_the_settings_of_the_bot_hide_its_secrets(history: ChatHistory) -> None:
    secrets = ("the-token", "the-key")
    hidden = render_bot(history, EN, own_secrets=secrets, secrets=False)
    assert f"Streamed: </span><code>{history.modes['stream']}</code>" in hidden
    assert f"One reply: </span><code>{history.modes['reply']}</code>" in hidden
    assert "the-token" not in hidden
    assert "the-key" not in hidden
    revealed = render_bot(history, EN, own_secrets=secrets, secrets=True)
    assert "<code>the-token</code>" in revealed
    assert "<code>the-key</code>" in revealed
    assert "which the page does not show" in render_bot(history, EN, own_secrets=None, secrets=True)


async def test_of_the_operators_own_url_neither_password_nor_query_is_shown(history: ChatHistory) -> None:
    history.modes = {}
    history.wecom.callback_url = "https://name:canary-word@bot.example.com:8443/wecom/bot?key=canary-query#canary-end"
    text = render_bot(history, EN, own_secrets=None, secrets=True)
    assert "<code>https://bot.example.com:8443/wecom/bot</code>" in text
    assert "canary" not in text
    assert "name" not in text


async def test_the_settings_say_what_the_url_check_brought(history: ChatHistory) -> None:
    history.url_check = UrlCheckResult(200, 0.0123)
    assert "passed in 12 ms" in render_bot(history, EN, own_secrets=None, secrets=False)
    history.url_check = UrlCheckResult(404, 0.01, "url_check_refused")
    assert "was not answered with status 200" in render_bot(history, EN, own_secrets=None, secrets=False)
