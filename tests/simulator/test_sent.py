"""The console's verdict on the answer to a URL check, and waiting for the answer to a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.protocol.reply import markdown_body
from maven_channel_wecom.simulator.http_client import HttpAnswer
from maven_channel_wecom.simulator.messages import EnterChat, Text
from maven_channel_wecom.simulator.sent import UrlCheckResult
from tests.simulator.bots import growing

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot

ECHO = b"1234567890"


def answer(status: int, body: bytes = b"", *, timed_out: bool = False) -> HttpAnswer:
    return HttpAnswer(status=status, body=body, elapsed_seconds=0.1, timed_out=timed_out)


def test_the_bare_echo_passes() -> None:
    assert UrlCheckResult.judge(answer(200, ECHO), ECHO).passed


@pytest.mark.parametrize(
    ("given", "offence"),
    [
        (answer(0, timed_out=True), "url_check_slow"),
        (answer(401), "url_check_refused"),
        (answer(200, b'"' + ECHO + b'"'), "url_check_decorated"),
        (answer(200, ECHO + b"\n"), "url_check_decorated"),
        (answer(200, b"\xef\xbb\xbf" + ECHO), "url_check_decorated"),
        (answer(200, b"ok"), "url_check_wrong_body"),
    ],
)
def test_every_other_answer_is_an_offence(given: HttpAnswer, offence: str) -> None:
    check = UrlCheckResult.judge(given, ECHO)
    assert (check.passed, check.offence) == (False, offence)


async def test_an_answer_is_the_accepted_reply_if_there_is_no_bubble(wecom: SimulatedWeCom, bot: Bot) -> None:
    assert await (await wecom.send(Text("hi"))).answer() == "hi"


async def test_an_answer_is_the_finished_bubble_or_the_reply_whichever_comes_first(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    bot.replies, bot.frames = False, growing("", "hel", "hello")
    assert await (await wecom.send(Text("hi"))).answer() == "hello"
    bot.frames = growing(*["so far"] * 1_000)
    sent = await wecom.send(Text("hi"))
    await bot.post(bot.received[-1].response_url, markdown_body("by reply"))
    assert await sent.answer() == "by reply"


async def test_waiting_for_an_answer_that_does_not_come_names_the_message(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.replies = False
    sent = await wecom.send(Text("hi"))
    with pytest.raises(TimeoutError, match=rf"message {sent.message_id} had no answer within 0\.01 seconds"):
        await sent.answer(0.01)
    with pytest.raises(LookupError, match="was not answered with a stream"):
        await sent.bubble_finished()
    bot.frames, wecom.refresh_seconds = growing("", "hello"), 1_000.0
    sent = await wecom.send(Text("hi"))
    with pytest.raises(TimeoutError, match=rf"the stream for message {sent.message_id} was not finished within 0\.01"):
        await sent.bubble_finished(0.01)


async def test_an_event_has_no_answer_to_wait_for(wecom: SimulatedWeCom, bot: Bot) -> None:
    with pytest.raises(LookupError, match="without a response_url"):
        await (await wecom.send(EnterChat())).answer()
