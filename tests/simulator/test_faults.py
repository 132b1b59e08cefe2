"""Each scripted fault of a reply, as a bot sees it over a real connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator import faults
from maven_channel_wecom.simulator.messages import Text
from tests.simulator.bots import JSON, Bot, PostResult

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom

BODY = markdown_body("hello")


@pytest.fixture
async def response_url(wecom: SimulatedWeCom, bot: Bot) -> str:
    bot.replies = False
    await wecom.send(Text("x"))
    return bot.received[0].response_url


async def test_a_retry_after_a_temporary_error_is_no_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    message_id = wecom.new_message_id()
    wecom.reply_faults.add(faults.Errcode(-1), faults.Errcode(6000), message_id=message_id)
    sent = await wecom.send(Text("try"), message_id=message_id)
    assert (await sent.reply()).content == "try"
    assert (wecom.recorded.posts[message_id], len(wecom.recorded.replies)) == (3, 1)
    assert wecom.recorded.offences == []


async def test_a_fault_of_one_message_does_not_affect_others(wecom: SimulatedWeCom, bot: Bot) -> None:
    wecom.reply_faults.add(faults.Errcode(45002), message_id="other")
    assert (await (await wecom.send(Text("x"))).reply()).accepted


async def test_none_in_a_script_is_a_regular_answer(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    wecom.reply_faults.add(None, faults.Status(503))
    for expected in (PostResult(200, 0), PostResult(503, None)):
        await wecom.send(Text("x"))
        assert await bot.post(bot.received[-1].response_url, BODY) == expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.Errcode(45009), PostResult(200, 45009)),
        (faults.Status(502), PostResult(502, None)),
        (faults.Status(403), PostResult(403, None)),
        (faults.HtmlPage(), PostResult(200, None)),
        (faults.ResetBeforeReading(), PostResult(0, None)),
    ],
    ids=repr,
)
async def test_a_fault_instead_of_carrying_out_a_reply_does_not_spend_the_url(
    wecom: SimulatedWeCom, bot: Bot, response_url: str, fault: faults.Fault, expected: PostResult
) -> None:
    wecom.reply_faults.add(fault)
    assert await bot.post(response_url, BODY) == expected
    assert wecom.recorded.replies == []
    assert await bot.post(response_url, BODY) == PostResult(200, 0)


@pytest.mark.parametrize("fault", [faults.ResetAfterReading(), faults.CutBody()], ids=repr)
async def test_a_fault_after_carrying_out_a_reply_spends_the_url(
    wecom: SimulatedWeCom, bot: Bot, response_url: str, fault: faults.Fault
) -> None:
    """The reply arrived, although the bot cannot know it."""
    wecom.reply_faults.add(fault)
    assert await bot.post(response_url, BODY) == PostResult(0, None)
    assert [reply.content for reply in wecom.recorded.replies] == ["hello"]
    assert await bot.post(response_url, BODY) == PostResult(200, 60140)
    assert [offence.kind for offence in wecom.recorded.offences] == ["second_use"]


async def test_a_delay_lasts_until_the_test_releases_it(wecom: SimulatedWeCom, bot: Bot, response_url: str) -> None:
    delay = faults.Delay()
    wecom.reply_faults.add(delay)
    async with asyncio.timeout(30):
        posting = asyncio.create_task(bot.post(response_url, BODY))
        await delay.reached.wait()
        assert (len(wecom.recorded.replies), posting.done()) == (1, False)
        delay.release.set()
        assert await posting == PostResult(200, 0)


async def test_a_stall_sends_half_an_answer_and_keeps_the_connection_open(
    wecom: SimulatedWeCom, bot: Bot, response_url: str
) -> None:
    """Stopping the simulator does not wait for the stalled answer."""
    wecom.reply_faults.add(faults.Stall())
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.post(response_url, data=BODY, headers=JSON) as response,
    ):
        received = await response.content.readany()
        assert response.status == 200
        assert 0 < len(received) < (response.content_length or 0)
        assert not response.content.at_eof()


async def test_offences_are_recorded_under_faults_too(wecom: SimulatedWeCom, bot: Bot, response_url: str) -> None:
    wecom.reply_faults.add(faults.Errcode(-1))
    assert await bot.post(response_url, markdown_body("")) == PostResult(200, -1)
    assert [offence.kind for offence in wecom.recorded.offences] == ["empty"]
