"""The reply window of each message: when it accepts a reply, and how a test waits for one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol import limits
from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.messages import (
    CardClick,
    EnterChat,
    Feedback,
    File,
    ImageById,
    StreamRefresh,
    Text,
    Unknown,
    Video,
    Voice,
)
from maven_channel_wecom.simulator.offences import Offence
from tests.simulator.bots import Bot, PostResult, kinds

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.messages import Message
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.conftest import ManualClock

BODY = markdown_body("hello")


@pytest.mark.parametrize(
    "message",
    [
        Voice("spoken"),
        File(b"%PDF-1.7 not much of a document", "a.pdf"),
        Video(b"\0" * 64),
        ImageById("id1"),
        CardClick("yes", "task1"),
        Unknown("location"),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_a_callback_that_may_be_answered_has_a_response_url(
    wecom: SimulatedWeCom, bot: Bot, message: Message
) -> None:
    bot.replies = False
    await wecom.send(message)
    assert bot.received[0].response_url.startswith(f"{wecom.base_url}/cgi-bin/aibot/response?response_code=")
    assert wecom.recorded.offences == []


@pytest.mark.parametrize(
    "message", [EnterChat(), Feedback("f1", 1), StreamRefresh("s1")], ids=lambda message: type(message).__name__
)
async def test_waiting_for_a_reply_to_a_callback_without_a_response_url_is_an_error(
    wecom: SimulatedWeCom, bot: Bot, message: Message
) -> None:
    sent = await wecom.send(message)
    assert bot.received[0].response_url == ""
    with pytest.raises(LookupError, match="without a response_url"):
        await sent.reply()


async def test_a_second_use_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    sent = await wecom.send(Text("x"))
    url = bot.received[0].response_url
    answers = await asyncio.gather(bot.post(url, BODY), bot.post(url, BODY))
    assert sorted(answer.errcode or 0 for answer in answers) == [0, 60140]
    assert wecom.recorded.offences == [Offence("second_use", sent.message_id)]
    assert (wecom.recorded.posts[sent.message_id], len(wecom.recorded.replies)) == (2, 1)
    assert [attempt.accepted for attempt in wecom.recorded.attempts] == [True, False]


async def test_a_reply_is_late_after_exactly_an_hour(wecom: SimulatedWeCom, bot: Bot, clock: ManualClock) -> None:
    bot.replies = False
    await wecom.send(Text("x"))
    await wecom.send(Text("y"))
    clock.now += limits.RESPONSE_URL_SECONDS - 1
    assert await bot.post(bot.received[0].response_url, BODY) == PostResult(200, 0)
    clock.now += 1
    assert await bot.post(bot.received[1].response_url, BODY) == PostResult(200, 60140)
    assert kinds(wecom) == ["late"]


async def test_a_template_card_in_a_group_is_refused(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    card = b'{"msgtype":"template_card","template_card":{"card_type":"text_notice"}}'
    single = await wecom.send(Text("x"))
    await wecom.send(Text("x"), group="wr1")
    assert await bot.post(bot.received[0].response_url, card) == PostResult(200, 0)
    assert await bot.post(bot.received[1].response_url, card) == PostResult(200, 40008)
    assert (await single.reply()).content == '{"card_type":"text_notice"}'
    assert kinds(wecom) == ["card_in_group"]


async def test_a_retry_after_a_permanent_error_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    wecom.reply_faults.add(Errcode(45002))
    sent = await wecom.send(Text("x"))
    url = bot.received[0].response_url
    assert await bot.post(url, BODY) == PostResult(200, 45002)
    await bot.post(url, BODY)
    assert wecom.recorded.offences == [Offence("unsafe_repeat", sent.message_id)]


async def test_waiting_for_a_reply_times_out_and_can_be_repeated(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The error names the message id and nothing else."""
    bot.replies = False
    sent = await wecom.send(Text("x"))
    with pytest.raises(TimeoutError, match=f"no reply to message {sent.message_id} was accepted"):
        await sent.reply(0.01)
    await bot.post(bot.received[0].response_url, b'{"msgtype":"markdown","markdown":{"content":"late but in time"}}')
    assert (await sent.reply()).content == "late but in time"
