"""Tests for two bots in one host, each with its own credentials, port, state and metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.messages import Text
from tests.e2e.deployment import Bot, Deployment
from tests.e2e.recording_agent import RecordingAgent

if TYPE_CHECKING:
    from tests.e2e.watch import Watch


def second_bot(watch: Watch) -> Bot:
    bot = Bot(watch)
    bot.settings["type"] = "wecom"
    return bot


async def test_each_bot_answers_its_own_users(watch: Watch) -> None:
    """The agent tells the bots apart by the channel name."""
    agent = RecordingAgent(lambda message: f"{message.channel} received {message.content}")
    support = second_bot(watch)
    async with Deployment(watch, agent=agent, bots={"support": support}) as deployment:
        first, second = await asyncio.gather(
            deployment.ask("where is my parcel?"), support.ask(Text("where is my refund?"))
        )
        assert first == "wecom received where is my parcel?"
        assert second == "support received where is my refund?"
        assert deployment.channel("wecom").port != deployment.channel("support").port
    assert watch.logged("gateway channels started") == [{"channels": ["wecom", "support"]}]


async def test_one_message_id_at_two_bots_is_two_messages(watch: Watch) -> None:
    support = second_bot(watch)
    async with Deployment(watch, bots={"support": support}) as deployment:
        assert await deployment.ask("hello to the first", message_id="the-same-id") == "hello to the first"
        answer = await support.ask(Text("hello to the second"), message_id="the-same-id")
        assert answer == "hello to the second"


async def test_each_bot_has_its_own_metrics(watch: Watch) -> None:
    support = second_bot(watch)
    async with Deployment(watch, bots={"support": support}) as deployment:
        await deployment.ask("count this for wecom")
        await support.ask(Text("count this for support"))
        await support.ask(Text("and this one as well"))
        for channel, count in (("wecom", 1), ("support", 2)):
            labels = {"kind": "message", "outcome": "accepted"}
            assert await deployment.metric("callbacks_total", channel=channel, **labels) == count
            assert await deployment.metric("reply_attempts_total", channel=channel) == count
            assert await deployment.metric("proactive_skips_total", channel=channel) == 0


async def test_the_credentials_of_one_bot_are_rejected_by_the_other(watch: Watch) -> None:
    support = second_bot(watch)
    async with Deployment(watch, bots={"support": support}) as deployment:
        sent = await deployment.send(Text("to the wrong bot"), credentials=support.wecom.credentials)
        assert sent.status == 401
