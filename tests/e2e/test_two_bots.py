"""Two bots in one host: two entries of type `wecom`, each with its own credentials, port, state and metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maven_channel_wecom.simulator.messages import Text
from tests.e2e.agents import Listener
from tests.e2e.deployment import Bot, Deployment

if TYPE_CHECKING:
    from tests.e2e.watch import Watch


def second_bot(watch: Watch) -> Bot:
    bot = Bot(watch)
    bot.settings["type"] = "wecom"
    return bot


async def test_each_bot_answers_its_own_people(watch: Watch) -> None:
    """The agent knows by the channel's name who asked where."""
    agent = Listener(lambda message: f"{message.channel} heard {message.content}")
    support = second_bot(watch)
    async with Deployment(watch, agent=agent, bots={"support": support}) as deployment:
        first, second = await asyncio.gather(
            deployment.ask("where is my parcel?"), support.ask(Text("where is my refund?"))
        )
        assert first == "wecom heard where is my parcel?"
        assert second == "support heard where is my refund?"
        assert deployment.channel("wecom").port != deployment.channel("support").port
    assert watch.logged("gateway channels started") == [{"channels": ["wecom", "support"]}]


async def test_one_message_id_at_two_bots_is_two_messages(watch: Watch) -> None:
    """What one has seen is news to the other."""
    support = second_bot(watch)
    async with Deployment(watch, bots={"support": support}) as deployment:
        assert await deployment.ask("hello to the first", message_id="the-same-id") == "hello to the first"
        answer = await support.ask(Text("hello to the second"), message_id="the-same-id")
        assert answer == "hello to the second"


async def test_each_bot_has_metrics_of_its_own(watch: Watch) -> None:
    """The same series under two labels."""
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


async def test_the_credentials_of_one_bot_open_nothing_at_the_other(watch: Watch) -> None:
    """A callback that took the wrong way is a wrong signature."""
    support = second_bot(watch)
    async with Deployment(watch, bots={"support": support}) as deployment:
        sent = await deployment.send(Text("to the wrong door"), credentials=support.wecom.credentials)
        assert sent.status == 401
