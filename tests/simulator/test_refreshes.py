"""Refreshes as WeCom sends them, to a bot that streams its answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from maven_channel_wecom.simulator.messages import EnterChat, Feedback, StreamRefresh, Text
from tests.simulator.bots import Bot, frame, growing, kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from maven_channel_wecom.protocol.envelope import SealedEnvelope
    from maven_channel_wecom.simulator.messages import Message
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.conftest import StreamTime


async def test_a_stream_is_refreshed_every_second_until_it_is_finished(
    wecom: SimulatedWeCom, bot: Bot, stream_time: StreamTime
) -> None:
    bot.frames, bot.replies = growing("", "hel", "hel", "hello"), False
    sent = await wecom.send(Text("hi"), user="bob", group="wr1")
    bubble = await sent.bubble_finished()
    assert [(frame.content, frame.finish, frame.after_seconds) for frame in bubble.frames] == [
        ("", False, 0.0),
        ("hel", False, 1.0),
        ("hello", True, 3.0),
    ]
    message, *refreshes = bot.received
    assert len(refreshes) == bubble.refreshes == 3
    assert {(each.type, each.sender_id, each.chat_id, each.response_url) for each in refreshes} == {
        ("stream", "bob", "wr1", "")
    }
    assert len({each.message_id for each in bot.received}) == 4
    assert (sent.bubble, await sent.answer(), kinds(wecom)) == (bubble, "hello", [])
    assert dict(wecom.recorded.acknowledgements) == {"stream": 1}
    assert wecom.recorded.acknowledged_ids == {message.message_id}


async def test_a_refresh_in_a_single_chat_names_no_group(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "hello"), False
    await (await wecom.send(Text("hi"), user="bob")).bubble_finished()
    assert [(each.chat_id, each.is_group) for each in bot.received] == [("bob", False)] * 2


async def test_a_finished_first_frame_is_not_refreshed(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames = growing("Working on it…")
    sent = await wecom.send(Text("hi"))
    assert (await sent.bubble_finished()).text == "Working on it…"
    assert (await sent.reply()).content == "hi"
    assert [each.type for each in bot.received] == ["text"]
    assert kinds(wecom) == []


async def test_refreshes_end_six_minutes_after_the_message_was_sent(
    wecom: SimulatedWeCom, bot: Bot, stream_time: StreamTime
) -> None:
    bot.frames, bot.replies = growing(*["so far"] * 1_000), False
    ended = asyncio.Event()
    wecom.recorded.listeners.append(lambda item: ended.set() if item in wecom.recorded.offences else None)
    sent = await wecom.send(Text("hi"))
    async with asyncio.timeout(30):
        await ended.wait()
    assert kinds(wecom) == ["unfinished_stream"]
    assert sent.bubble is not None
    assert (sent.bubble.refreshes, sent.bubble.is_finished) == (359, False)
    assert stream_time.now == 360.0


async def test_a_refresh_without_a_200_is_asked_again_and_a_bot_that_is_gone_commits_no_offence(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    bot.frames, bot.replies = growing("", "hello"), False
    regular, answers = bot.answer, 0

    def twice_unavailable(sealed: SealedEnvelope) -> web.Response:
        nonlocal answers
        answers += 1
        return web.Response(status=503) if answers in {2, 3} else regular(sealed)

    bot.answer = twice_unavailable
    bubble = await (await wecom.send(Text("hi"))).bubble_finished()
    assert [(each.content, each.after_seconds) for each in bubble.frames] == [("", 0.0), ("hello", 3.0)]
    assert (bubble.refreshes, kinds(wecom)) == (1, [])


async def test_refreshes_can_be_sent_to_any_replica(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "hello"), False
    async with Bot(wecom.credentials) as replica:
        replica.frames = lambda stream_id, number: frame(stream_id, "from a replica", finish=number == 1)
        wecom.refresh_urls = lambda: replica.url
        bubble = await (await wecom.send(Text("hi"))).bubble_finished()
    assert bubble.text == "from a replica"
    assert ([each.type for each in bot.received], len(replica.received)) == (["text"], 2)


async def test_refreshes_go_where_the_message_went(wecom: SimulatedWeCom, bot: Bot) -> None:
    async with Bot(wecom.credentials, replies=False, frames=growing("", "hello")) as replica:
        await (await wecom.send(Text("hi"), at=replica.url)).bubble_finished()
    assert (len(replica.received), bot.received) == (2, [])


async def test_a_duplicate_gets_the_same_stream_and_starts_no_second_series_of_refreshes(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    """The duplicate shows the newest frame, and the stream goes on."""
    bot.frames, bot.replies = growing("", *["so far"] * 50, "hello"), False
    sent = await wecom.send(Text("hi"))
    again = await wecom.redeliver(sent)
    bubble = await again.bubble_finished()
    assert (sent.bubble, wecom.recorded.bubbles) == (bubble, {sent.message_id: bubble})
    assert (bubble.refreshes, kinds(wecom)) == (50, [])


async def test_a_stream_that_only_the_duplicate_opened_is_refreshed(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies, regular = growing("", "", "hello"), False, bot.answer
    bot.answer = lambda _sealed: web.Response(status=503)
    sent = await wecom.send(Text("hi"))
    assert sent.bubble is None
    bot.answer = regular
    await wecom.redeliver(sent)
    assert (await sent.bubble_finished()).text == "hello"


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (lambda stream_id, number: frame(f"{stream_id}{number}", "x", finish=number > 0), "wrong_stream_id"),
        (lambda stream_id, number: frame(stream_id, "x" * 20_481, finish=True), "oversized"),
        (lambda stream_id, number: frame(stream_id, "" if number == 1 else "x", finish=number > 1), "blank_frame"),
        (lambda stream_id, number: frame(stream_id, "", finish=True), "blank_frame"),
        (lambda stream_id, number: frame(stream_id, "x", finish=True, feedback={"id": "f" * 257}), "wrong_feedback_id"),
        (lambda stream_id, number: frame(stream_id, "x", finish=number > 0, feedback={"id": "f"}), "wrong_feedback_id"),
        (lambda stream_id, number: frame(stream_id, "x") if number != 1 else b'"success"', "unexpected_answer"),
        (
            lambda stream_id, number: frame(stream_id, "x") if number != 1 else b'{"msgtype":"text"}',
            "unexpected_answer",
        ),
    ],
    ids=["id", "size", "blank", "blank_end", "feedback_size", "late_feedback", "empty_reply", "other_reply"],
)
async def test_a_wrong_frame_is_an_offence_of_the_message(
    wecom: SimulatedWeCom, bot: Bot, frames: Callable[[str, int], bytes], expected: str
) -> None:
    bot.frames, bot.replies, wecom.stream_seconds = frames, False, 3.5
    offended = asyncio.Event()
    wecom.recorded.listeners.append(lambda item: offended.set() if item in wecom.recorded.offences else None)
    sent = await wecom.send(Text("hi"))
    async with asyncio.timeout(30):
        await offended.wait()
    first = wecom.recorded.offences[0]
    assert (first.kind, first.message_id) == (expected, sent.message_id)


async def test_a_duplicate_with_another_stream_id_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies, bot.frames = False, lambda _stream_id, number: frame(f"s{number}", "x", finish=True)
    await wecom.redeliver(await wecom.send(Text("hi")))
    assert kinds(wecom) == ["wrong_stream_id"]


@pytest.mark.parametrize("event", [EnterChat(), Feedback("f1", 1)], ids=["enter_chat", "feedback"])
async def test_an_event_is_answered_within_five_seconds_and_never_with_a_stream(
    wecom: SimulatedWeCom, bot: Bot, event: Message
) -> None:
    bot.frames = growing("hello")
    sent = await wecom.send(event)
    bot.frames, wecom.event_seconds = None, 0.0
    await wecom.send(event)
    assert kinds(wecom) == ["streamed_event", "late_event_answer"]
    assert sent.bubble is None


async def test_a_refresh_that_a_test_sends_is_judged_by_the_id_it_asks_for_and_changes_no_bubble(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    bot.frames, bot.replies = growing("hello"), False
    sent = await wecom.send(Text("hi"))
    assert sent.bubble is not None
    await wecom.send(StreamRefresh(sent.bubble.stream_id), user="mallory")
    assert (sent.bubble.refreshes, kinds(wecom)) == (0, [])
    bot.frames = lambda _stream_id, number: frame("other", "hello", finish=True)
    await wecom.send(StreamRefresh(sent.bubble.stream_id))
    assert kinds(wecom) == ["wrong_stream_id"]


async def test_a_bot_that_does_not_stream_may_answer_a_refresh_with_an_empty_reply(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    sent = await wecom.send(StreamRefresh("s1"))
    assert (sent.acknowledgement, sent.bubble, kinds(wecom)) == (b'"success"', None, [])


async def test_stopping_the_simulator_stops_its_refreshes(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing(*["so far"] * 1_000), False
    await wecom.send(Text("hi"))
    await wecom.__aexit__(None, None, None)
    assert kinds(wecom) == []
