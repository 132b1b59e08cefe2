"""Several messages at once: order inside a chat, no waiting between chats, repeats, and a full inbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.faults import Delay
from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

PNG = draw_png(8, 8)


async def test_a_chat_keeps_its_order_however_long_media_takes(watch: Watch) -> None:
    """A text that came after a picture waits for it; another chat does not."""
    agent = Listener()
    async with Deployment(watch, agent=agent) as deployment:
        slow = Delay()
        deployment.wecom.media_faults.add(slow)
        first = await deployment.send(Mixed((Text("look at this one"), Image(PNG))), user="alice", group="g")
        async with asyncio.timeout(10):
            await slow.reached.wait()
        second = await deployment.send(Text("did you see it?"), user="bob", group="g")
        assert await deployment.ask("elsewhere meanwhile", user="carol") == "elsewhere meanwhile"
        assert agent.words == ["elsewhere meanwhile"]
        slow.release.set()
        await asyncio.gather(first.reply(), second.reply())
    assert agent.words == ["elsewhere meanwhile", "look at this one", "did you see it?"]


async def test_many_messages_of_one_chat_are_heard_in_the_order_sent(watch: Watch) -> None:
    """Twenty of them, each acknowledged before the next is sent, every third with a picture."""
    agent = Listener()
    words = [f"message number {number:02}" for number in range(20)]
    async with Deployment(watch, agent=agent) as deployment:
        sent = [
            await deployment.send(Mixed((Text(text), Image(PNG))) if number % 3 == 0 else Text(text))
            for number, text in enumerate(words)
        ]
        await asyncio.gather(*(each.reply() for each in sent))
    assert agent.words == words


async def test_a_turn_does_not_wait_for_the_answer_before_it(watch: Watch) -> None:
    """A second question in one chat is heard while the first one is being thought about."""
    agent = Listener()
    gate = agent.hold("think very hard")
    async with Deployment(watch, agent=agent) as deployment:
        first = await deployment.send(Text("think very hard"))
        await agent.hears("think very hard")
        assert await deployment.ask("something easy") == "something easy"
        gate.set()
        assert (await first.reply()).content == "think very hard"


async def test_a_message_delivered_three_times_at_once_is_one_message(watch: Watch) -> None:
    """Under new envelopes and byte for byte alike; every delivery is acknowledged."""
    agent = Listener()
    gate = agent.hold("only this once")
    async with Deployment(watch, agent=agent) as deployment:
        sent = await deployment.send(Text("only this once"))
        again = await asyncio.gather(
            deployment.wecom.redeliver(sent),
            deployment.wecom.redeliver(sent),
            deployment.wecom.redeliver(sent, verbatim=True),
        )
        assert [each.acknowledgement for each in again] == [b'"success"'] * 3
        gate.set()
        await sent.reply()
        assert (await deployment.wecom.redeliver(sent)).acknowledged
        assert await deployment.metric("dedup_hits_total") == 4
        assert await deployment.metric("callbacks_total", kind="message", outcome="duplicate") == 4
        assert await deployment.metric("callbacks_total", kind="message", outcome="accepted") == 1
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}
    assert agent.words == ["only this once"]


async def test_a_full_inbox_answers_503_and_takes_the_message_when_it_comes_again(watch: Watch) -> None:
    """The claim was given back, so the redelivery is no duplicate."""
    agent = Listener()
    gate = agent.hold("keeps the inbox full")
    async with Deployment(watch, {"inboxLimit": 1}, agent=agent) as deployment:
        first = await deployment.send(Text("keeps the inbox full"), user="alice")
        await agent.hears("keeps the inbox full")
        refused = await deployment.send(Text("has no place yet"), user="bob")
        assert refused.status == 503
        assert refused.acknowledgement is None
        assert await deployment.metric("callbacks_total", kind="message", outcome="inbox_full") == 1
        assert await deployment.metric("reply_windows") == 1
        gate.set()
        await first.reply()
        await deployment.settled()
        accepted = await deployment.wecom.redeliver(refused)
        assert accepted.acknowledged
        assert (await accepted.reply()).content == "has no place yet"
        assert await deployment.metric("dedup_hits_total") == 0
    assert agent.words == ["keeps the inbox full", "has no place yet"]


async def test_a_flood_past_the_limit_loses_nothing_that_was_acknowledged(watch: Watch) -> None:
    """Sixty at once into ten places: some get 503, and everyone who did not is answered."""
    agent = Listener()
    async with Deployment(watch, {"inboxLimit": 10}, agent=agent) as deployment:
        gate = [agent.hold(f"flooding with {number:02}") for number in range(60)]
        sent = await asyncio.gather(
            *(deployment.send(Text(f"flooding with {number:02}"), user=f"user{number}") for number in range(60))
        )
        for each in gate:
            each.set()
        acknowledged = [each for each in sent if each.acknowledged]
        await asyncio.gather(*(each.reply() for each in acknowledged))
        assert {each.status for each in sent} == {200, 503}
        assert len(acknowledged) == 10
        assert {
            reply.message_id for reply in deployment.wecom.recorded.replies
        } == deployment.wecom.recorded.acknowledged_ids
