"""Tests for the removal of configured mention names from group messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

NAMES = {"mentionNames": ["Maven", "Maven Bot", "小助手"]}


@pytest.mark.parametrize(
    ("written", "received"),
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
    watch: Watch, written: str, received: str
) -> None:
    """The rest of the text is kept. A message that is only a mention is kept too, so that the agent can answer it."""
    agent = RecordingAgent()
    async with Deployment(watch, NAMES, agent=agent) as deployment:
        await deployment.wecom.send(Text(written), group="wrGroup")
        await agent.received(received)
    assert agent.texts == [received]


async def test_a_mention_in_a_mixed_message_is_stripped(watch: Watch) -> None:
    """A text item that was only a mention leaves no empty block."""
    agent = RecordingAgent()
    async with Deployment(watch, NAMES, agent=agent) as deployment:
        await deployment.ask(Mixed((Text("@Maven "), Image(draw_png(4, 4)), Text("what is this?"))), group="wrGroup")
    assert agent.texts == ["what is this?"]
    assert [type(block).__name__ for block in agent.blocks] == ["ImageBlock", "TextBlock"]


@pytest.mark.parametrize(
    ("settings", "group"), [(NAMES, ""), ({}, "wrGroup")], ids=["in a single chat", "without mentionNames"]
)
async def test_a_mention_is_kept_in_single_chats_and_without_mention_names(
    watch: Watch, settings: dict[str, object], group: str
) -> None:
    async with Deployment(watch, settings) as deployment:
        assert await deployment.ask("@Maven good morning", group=group) == "@Maven good morning"
