"""Each scripted fault of a refresh, with a bot that streams its answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.refresh_faults import CutRefresh, LateRefresh, LostAnswer, RepeatedRefresh
from tests.simulator.bots import frame, growing

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.bubbles import Bubble
    from maven_channel_wecom.simulator.refresh_faults import RefreshFault
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot


async def stream_with(wecom: SimulatedWeCom, *faults: RefreshFault | None) -> Bubble:
    message_id = wecom.new_message_id()
    wecom.refresh_faults.add(*faults, message_id=message_id)
    return await (await wecom.send(Text("hi"), message_id=message_id)).bubble_finished()


def seen(bubble: Bubble) -> list[tuple[str, float]]:
    return [(change.content, change.after_seconds) for change in bubble.frames]


async def test_a_lost_answer_was_written_by_the_bot_and_changes_no_bubble(wecom: SimulatedWeCom, bot: Bot) -> None:
    """The next refresh gets the last frame again."""
    bot.frames, bot.replies = growing("", "hello"), False
    assert seen(await stream_with(wecom, LostAnswer())) == [("", 0.0), ("hello", 2.0)]
    assert len(bot.received) == 3
    assert wecom.recorded.offences == []


async def test_a_repeated_refresh_has_the_same_message_id(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "hel", "hello"), False
    assert seen(await stream_with(wecom, RepeatedRefresh())) == [("", 0.0), ("hel", 1.0), ("hello", 1.0)]
    _, first, second = bot.received
    assert first.message_id == second.message_id
    assert wecom.recorded.offences == []


async def test_another_text_after_the_end_is_an_offence(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames = lambda stream_id, number: frame(stream_id, f"text {number}", finish=number > 0)
    bot.replies = False
    offended = asyncio.Event()
    wecom.recorded.listeners.append(lambda item: offended.set() if item in wecom.recorded.offences else None)
    bubble = await stream_with(wecom, RepeatedRefresh())
    async with asyncio.timeout(30):
        await offended.wait()
    assert [offence.kind for offence in wecom.recorded.offences] == ["changed_after_finish"]
    assert bubble.text == "text 1"


async def test_a_late_refresh_delays_those_after_it(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "hel", "hello"), False
    assert seen(await stream_with(wecom, None, LateRefresh(7.5))) == [("", 0.0), ("hel", 1.0), ("hello", 9.5)]


async def test_a_cut_refresh_never_reaches_the_bot(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "hello"), False
    assert seen(await stream_with(wecom, CutRefresh(), CutRefresh())) == [("", 0.0), ("hello", 3.0)]
    assert len(bot.received) == 2
    assert wecom.recorded.offences == []


async def test_a_fault_of_one_message_does_not_affect_others(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "hello"), False
    wecom.refresh_faults.add(LostAnswer(), message_id="other")
    assert seen(await stream_with(wecom)) == [("", 0.0), ("hello", 1.0)]
