"""What is stripped of a group text, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

NAMES = {"mentionNames": ["Maven", "Maven Bot", "小助手"]}


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("@Maven /status of it", "/status of it"),
        ("@Maven Bot /status of it", "/status of it"),
        ("what is the status? @Maven", "what is the status?"),
        ("状态如何@小助手", "状态如何"),
        ("＠小助手 状态如何", "状态如何"),
        ("@Maven @小助手 both of you", "both of you"),
        ("ask @Maven about it", "ask @Maven about it"),
        ("@Mavenish is another name", "@Mavenish is another name"),
        ("@Somebody look at this", "@Somebody look at this"),
        ("Maven without the sign", "Maven without the sign"),
        ("  indented, and\nno mention  ", "  indented, and\nno mention  "),
        ("@Maven", "@Maven"),
    ],
)
async def test_a_configured_mention_is_stripped_at_either_end_of_a_group_text(
    watch: Watch, written: str, heard: str
) -> None:
    """Nothing else of the text is touched; a message that is only a mention stays, so that there is one to answer."""
    agent = Listener()
    async with Deployment(watch, NAMES, agent=agent) as deployment:
        await deployment.wecom.send(Text(written), group="wrGroup")
        await agent.hears(heard)
    assert agent.words == [heard]


async def test_a_mention_in_a_mixed_message_is_stripped_too(watch: Watch) -> None:
    """A text item that was nothing else leaves no empty block."""
    agent = Listener()
    async with Deployment(watch, NAMES, agent=agent) as deployment:
        await deployment.ask(Mixed((Text("@Maven "), Image(draw_png(4, 4)), Text("what is this?"))), group="wrGroup")
    assert agent.words == ["what is this?"]
    assert [type(block).__name__ for block in agent.blocks] == ["ImageBlock", "TextBlock"]


@pytest.mark.parametrize(
    ("settings", "group"), [(NAMES, ""), ({}, "wrGroup")], ids=["in a single chat", "without mentionNames"]
)
async def test_a_mention_stays_where_nobody_asked_to_strip_it(
    watch: Watch, settings: dict[str, object], group: str
) -> None:
    """In a single chat it is the user's own text; without names there is nothing to look for."""
    async with Deployment(watch, settings) as deployment:
        assert await deployment.ask("@Maven good morning", group=group) == "@Maven good morning"
