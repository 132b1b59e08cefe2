"""Tests for one busy person: nobody else waits for the end of one of this person's turns.

The agent holds all of the person's turns until the others have been answered, so nothing here depends on time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.contract.messages import ImageBlock, TextBlock
from maven_channel_wecom.policy.media_blocks import BLOCK_BYTES, MEDIA_BYTES
from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import PARALLEL, RecordingAgent

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

PNG = draw_png(8, 8)
LARGE_PNG = PNG.ljust(MEDIA_BYTES, b"\0")
FLOOD = "one of very many"


async def test_others_are_answered_at_once_while_one_person_sends_more_than_the_inbox_holds(watch: Watch) -> None:
    agent = RecordingAgent()
    gate = agent.hold(FLOOD)
    async with Deployment(watch, {"inboxLimit": 80}, agent=agent) as deployment:
        flood = [await deployment.send(Text(FLOOD), user="alice") for _ in range(120)]
        admitted = [sent for sent in flood if sent.acknowledged]
        # Half of the inbox; the other places stay free.
        assert 40 <= len(admitted) <= 41
        assert agent.texts == [FLOOD]
        for user in ("bob", "carol", "dave"):
            assert await deployment.ask(f"hello from {user}", user=user) == f"hello from {user}"
        assert deployment.wecom.recorded.replies_to(admitted[0].message_id) == []
        gate.set()
        await asyncio.gather(*(sent.reply() for sent in admitted))
    assert agent.texts.count(FLOOD) == len(admitted)


async def test_others_are_answered_at_once_while_parallel_turns_of_one_person_hold_half_of_all_turns(
    watch: Watch,
) -> None:
    agent = RecordingAgent()
    gate = agent.hold(FLOOD)
    async with Deployment(watch, document=PARALLEL, agent=agent) as deployment:
        flood = [await deployment.send(Text(FLOOD), user="alice") for _ in range(40)]
        # Half of the agent's 64 turns.
        assert 32 <= agent.texts.count(FLOOD) <= 33
        assert await deployment.ask("hello from bob", user="bob") == "hello from bob"
        gate.set()
        await asyncio.gather(*(sent.reply() for sent in flood))


async def test_the_messages_of_others_do_not_wait_behind_those_that_one_person_sent_before(watch: Watch) -> None:
    """All of them have been admitted, and each turn of the person ends only when a new one is let through."""
    agent = RecordingAgent()
    words = [f"number {number}" for number in range(90)]
    gates = [agent.hold(text) for text in words]
    async with Deployment(watch, {"inboxLimit": 200}, agent=agent) as deployment:
        flood = [await deployment.send(Text(text), user="alice") for text in words]
        assert await deployment.ask("hello", user="bob") == "hello"
        # Even one of the person's turns that ends is followed by the turn of somebody else.
        before = len(agent.texts)
        gates[0].set()
        await flood[0].reply()
        assert await deployment.ask("hello again", user="bob") == "hello again"
        assert len(agent.texts) <= before + 2
        for gate in gates:
            gate.set()
        await asyncio.gather(*(sent.reply() for sent in flood))


async def test_the_picture_of_another_does_not_wait_for_many_large_pictures_of_one_person(watch: Watch) -> None:
    agent = RecordingAgent()
    gate = agent.hold(FLOOD)
    async with Deployment(watch, {"mediaLimitBytes": 5 * BLOCK_BYTES}, document=PARALLEL, agent=agent) as deployment:
        picture = Mixed((Text(FLOOD), Image(LARGE_PNG)))
        flood = [await deployment.send(picture, user="alice") for _ in range(6)]
        while agent.texts.count(FLOOD) < 3:
            await deployment.get("/healthz")
        answer = await deployment.ask(Mixed((Text("and mine"), Image(PNG))), user="bob")
        assert "unavailable" not in answer
        assert agent.texts == [FLOOD] * 3 + ["and mine"]
        assert [type(block) for block in agent.blocks] == [TextBlock, ImageBlock]
        gate.set()
        replies = await asyncio.gather(*(sent.reply() for sent in flood))
        assert not any("unavailable" in reply.content for reply in replies)
