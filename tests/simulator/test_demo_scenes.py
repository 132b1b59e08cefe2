"""The scenes of the demo, with a correct bot and with bots that break a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.simulator import demo, demo_scenes
from tests.simulator.bots import frame, growing

if TYPE_CHECKING:
    from maven_channel_wecom.simulator.wecom import SimulatedWeCom
    from tests.simulator.bots import Bot


async def test_every_scene_passes_with_a_correct_bot(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.welcome = "Hello"
    printed: list[str] = []
    assert await demo.play(wecom, demo_scenes.SCENES, printed.append) == []
    assert [line[:4] for line in printed[1:]] == ["ok  "] * len(demo_scenes.SCENES)
    assert wecom.recorded.offences == []


async def test_only_the_scene_of_the_broken_rule_fails(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.prefix = "@Maven "
    bot.welcome = "Hello"
    printed: list[str] = []
    failures = await demo.play(wecom, demo_scenes.SCENES, printed.append)
    assert failures == ["mention: rule broken: the mention is stripped, so commands match"]


async def test_an_answer_cut_without_notice_fails(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.describe = lambda _item: "A long answer. " * 100
    result = await demo_scenes.long_answer(wecom)
    assert (result.passed, result.received) == (False, "1500 bytes, cut without notice")


async def test_an_entry_without_a_greeting_fails(wecom: SimulatedWeCom, bot: Bot) -> None:
    result = await demo_scenes.welcome(wecom)
    assert (result.passed, result.received) == (False, "no greeting")


async def test_a_bubble_that_grows_to_the_whole_answer_passes(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("Working on it…", "one", "one, two", "one, two, three"), False
    result = await demo_scenes.streamed_answer(wecom)
    assert (result.passed, result.received) == (True, '"one, two, three" in 4 frames')


async def test_a_bubble_that_forgets_what_it_showed_fails(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "one, two", "Working on it…", "one, two, three"), False
    assert not (await demo_scenes.streamed_answer(wecom)).passed


async def test_an_ended_stream_whose_answer_follows_passes(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.describe = lambda _item: "one, two, three, … eleven, twelve"
    bot.frames = growing("", "one, two\n\n> This takes longer.")
    assert (await demo_scenes.outlived_stream(wecom)).passed


async def test_a_stream_that_ends_without_its_text_fails(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.describe = lambda _item: "one, two, three, … eleven, twelve"
    bot.frames = lambda stream_id, number: frame(stream_id, "This takes longer.", finish=number > 0)
    assert not (await demo_scenes.outlived_stream(wecom)).passed


async def test_a_follow_up_passes_only_if_the_answer_shows_what_was_said_before(
    wecom: SimulatedWeCom, bot: Bot
) -> None:
    bot.frames, bot.replies = growing("", "four, five"), False
    assert (await demo_scenes.follow_up(wecom)).passed
    bot.frames = growing("", "Go on from where?")
    assert not (await demo_scenes.follow_up(wecom)).passed


async def test_a_new_conversation_that_is_not_announced_fails(wecom: SimulatedWeCom, bot: Bot) -> None:
    bot.frames, bot.replies = growing("", "Go on from where?"), False
    result = await demo_scenes.new_conversation(wecom)
    assert (result.passed, result.received) == (False, '"Go on from where?"')
