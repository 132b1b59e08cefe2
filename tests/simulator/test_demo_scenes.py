"""The scenes of the demo, with a correct bot and with bots that break a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maven_channel_wecom.simulator import demo, demo_scenes

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
