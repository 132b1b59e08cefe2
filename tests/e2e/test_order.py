"""Tests for concurrent messages: order within a chat, independence of chats, duplicates, and a full inbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from maven_channel_wecom.simulator.faults import Delay
from maven_channel_wecom.simulator.messages import Image, Mixed, Text
from maven_channel_wecom.simulator.picture import draw_png
from tests.e2e.deployment import Deployment
from tests.e2e.recording_agent import PARALLEL, RecordingAgent

if TYPE_CHECKING:
    from tests.e2e.watch import Watch

PNG = draw_png(8, 8)


async def test_a_chat_keeps_its_order_while_media_are_fetched(watch: Watch) -> None:
    """A text sent after an image waits for the image; another chat does not."""
    agent = RecordingAgent()
    async with Deployment(watch, agent=agent) as deployment:
        slow = Delay()
        deployment.wecom.media_faults.add(slow)
        first = await deployment.send(Mixed((Text("look at this one"), Image(PNG))), user="alice", group="g")
        async with asyncio.timeout(10):
            await slow.reached.wait()
        second = await deployment.send(Text("did you see it?"), user="bob", group="g")
        assert await deployment.ask("in another chat", user="carol") == "in another chat"
        assert agent.texts == ["in another chat"]
        slow.release.set()
        await asyncio.gather(first.reply(), second.reply())
    assert agent.texts == ["in another chat", "look at this one", "did you see it?"]


async def test_the_agent_receives_the_messages_of_a_chat_in_the_order_sent(watch: Watch) -> None:
    agent = RecordingAgent()
    words = [f"message number {number:02}" for number in range(20)]
    async with Deployment(watch, agent=agent) as deployment:
        sent = [
            await deployment.send(Mixed((Text(text), Image(PNG))) if number % 3 == 0 else Text(text))
            for number, text in enumerate(words)
        ]
        await asyncio.gather(*(each.reply() for each in sent))
    assert agent.texts == words


async def test_a_turn_of_a_chat_waits_for_the_previous_one_and_other_chats_do_not(watch: Watch) -> None:
    agent = RecordingAgent()
    gate = agent.hold("think very hard")
    async with Deployment(watch, agent=agent) as deployment:
        first = await deployment.send(Text("think very hard"))
        await agent.received("think very hard")
        second = await deployment.send(Text("something easy"))
        assert await deployment.ask("in another chat", user="carol") == "in another chat"
        gate.set()
        assert (await first.reply()).content == "think very hard"
        assert (await second.reply()).content == "something easy"
    assert agent.texts == ["think very hard", "in another chat", "something easy"]


async def test_a_parallel_turn_does_not_wait_for_the_previous_answer(watch: Watch) -> None:
    agent = RecordingAgent()
    gate = agent.hold("think very hard")
    async with Deployment(watch, document=PARALLEL, agent=agent) as deployment:
        first = await deployment.send(Text("think very hard"))
        await agent.received("think very hard")
        assert await deployment.ask("something easy") == "something easy"
        gate.set()
        assert (await first.reply()).content == "think very hard"


async def test_concurrent_deliveries_of_one_message_give_one_turn(watch: Watch) -> None:
    """Every delivery is acknowledged, whether in a new envelope or byte for byte the same."""
    agent = RecordingAgent()
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
    assert agent.texts == ["only this once"]


async def test_a_message_refused_by_a_full_inbox_is_admitted_when_redelivered(watch: Watch) -> None:
    """A refused message leaves no claim behind, so its redelivery is not a duplicate."""
    agent = RecordingAgent()
    gate = agent.hold("keeps the inbox full")
    async with Deployment(watch, {"inboxLimit": 1}, agent=agent) as deployment:
        first = await deployment.send(Text("keeps the inbox full"), user="alice")
        await agent.received("keeps the inbox full")
        refused = await deployment.send(Text("has no place yet"), user="bob")
        assert refused.status == 503
        assert refused.acknowledgement is None
        assert await deployment.metric("callbacks_total", kind="message", outcome="inbox_full") == 1
        assert await deployment.metric("reply_windows") == 1
        gate.set()
        await first.reply()
        await deployment.wait_until_idle()
        accepted = await deployment.wecom.redeliver(refused)
        assert accepted.acknowledged
        assert (await accepted.reply()).content == "has no place yet"
        assert await deployment.metric("dedup_hits_total") == 0
    assert agent.texts == ["keeps the inbox full", "has no place yet"]


async def test_every_message_acknowledged_during_a_flood_is_answered(watch: Watch) -> None:
    agent = RecordingAgent()
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


class LockingService:
    """A Responses API that refuses a request of a session while it answers another one, as some agents do.

    No answer is complete before `released` is set.
    """

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.asked: dict[str, list[str]] = {}
        self.refused = 0
        self._running: set[str] = set()

    async def handle(self, request: web.Request) -> web.Response:
        session = request.headers["Maven-Session-Id"]
        text = (await request.json())["input"][-1]["content"][0]["text"]
        if session in self._running:
            self.refused += 1
            return web.json_response({"error": {"code": "session_locked"}}, status=409)
        self._running.add(session)
        self.asked.setdefault(session, []).append(text)
        await self.released.wait()
        self._running.discard(session)
        return web.json_response({"output_text": f"about {text}"})


@pytest.mark.parametrize("parallel", [False, True], ids=["in order", "parallel"])
async def test_two_quick_messages_of_200_people_are_answered_in_order_by_an_agent_that_locks_sessions(
    watch: Watch, *, parallel: bool
) -> None:
    """With `parallelTurns`, such an agent refuses some of them."""
    service = LockingService()
    app = web.Application()
    app.router.add_post("/v1/responses", service.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/responses"
    agent = {"type": "responses", "url": url, "model": "maven", "parallelTurns": parallel}
    words = [(f"the first of {number}", f"the second of {number}") for number in range(200)]
    try:
        async with Deployment(watch, document={"agent": agent}) as deployment:
            sent = [
                await deployment.send(Text(text), user=f"user{number}")
                for number, pair in enumerate(words)
                for text in pair
            ]
            service.released.set()
            answers = [(await each.reply()).content for each in sent]
    finally:
        await runner.cleanup()
    assert (service.refused > 0) is parallel
    if not parallel:
        assert answers == [f"about {text}" for pair in words for text in pair]
        assert sorted(service.asked.values()) == sorted(map(list, words))
