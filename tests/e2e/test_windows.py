"""Tests for reply windows: one per message, spent once, and found by the message that is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.sentences import ANSWER_EMPTY
from maven_channel_wecom.simulator.messages import CardClick, Text
from tests.e2e.deployment import Deployment
from tests.e2e.manual_clock import ManualClock
from tests.e2e.recording_agent import PARALLEL, RecordingAgent
from tests.e2e.silencer import Silencer

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage
    from tests.e2e.watch import Watch

HOUR_SECONDS = 3600.0


async def test_two_users_in_one_group_get_their_own_answers(watch: Watch) -> None:
    """The second question is answered first."""
    agent = RecordingAgent(lambda message: f"to {message.sender_id}: about {message.content}")
    gates = [agent.hold("the first question"), agent.hold("the second question")]
    async with Deployment(watch, document=PARALLEL, agent=agent, plugins=[Silencer()]) as deployment:
        first = await deployment.send(Text("the first question"), user="alice", group="g")
        second = await deployment.send(Text("the second question"), user="bob", group="g")
        await agent.received("the second question")
        gates[1].set()
        assert (await second.reply()).content == "to bob: about the second question"
        assert deployment.wecom.recorded.replies_to(first.message_id) == []
        gates[0].set()
        assert (await first.reply()).content == "to alice: about the first question"


async def test_an_answer_after_59_minutes_uses_the_window_of_its_question(watch: Watch) -> None:
    """Other questions are asked and answered in the same group in between."""
    clock = ManualClock()
    agent = RecordingAgent()
    gate = agent.hold("a question of an hour")
    async with Deployment(watch, document=PARALLEL, agent=agent, clock=clock, plugins=[Silencer()]) as deployment:
        slow = await deployment.send(Text("a question of an hour"), user="alice", group="g")
        for minute in range(59):
            clock.pass_seconds(60)
            words = f"a question of minute {minute}"
            assert await deployment.ask(words, user="bob", group="g") == words
        gate.set()
        assert (await slow.reply()).content == "a question of an hour"
        await deployment.wait_until_idle()
        assert await deployment.metric("answer_seconds_bucket", le="3600.0") == 60


async def test_an_answer_after_the_reply_window_has_expired_is_not_sent(watch: Watch) -> None:
    clock = ManualClock()
    agent = RecordingAgent()
    gate = agent.hold("a question of two hours")
    async with Deployment(watch, agent=agent, clock=clock, plugins=[Silencer()]) as deployment:
        slow = await deployment.send(Text("a question of two hours"))
        await agent.received("a question of two hours")
        clock.pass_seconds(HOUR_SECONDS)
        gate.set()
        receipt = await deployment.auditor.receipt_for(slow.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "no_reply_window", 0)
        assert deployment.wecom.recorded.posts == {}
        assert await deployment.metric("replies_total", outcome="undeliverable", reason="no_reply_window") == 1


async def test_a_second_answer_to_a_message_is_undeliverable(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        sent = await deployment.send(Text("answer me once"))
        await sent.reply()
        receipt = await deployment.deliver("a second answer", reply_to=sent.message_id)
        assert (receipt.outcome, receipt.reason) == ("undeliverable", "no_reply_window")
        assert deployment.wecom.recorded.posts == {sent.message_id: 1}


async def test_only_one_of_several_concurrent_answers_is_sent(watch: Watch) -> None:
    """The simulator records an offence if a response URL is used twice."""
    agent = RecordingAgent(lambda _message: "")
    async with Deployment(watch, agent=agent, plugins=[Silencer()]) as deployment:
        sent = await deployment.send(Text("which answer is first?"))
        await watch.until("answer withheld")
        receipts = await asyncio.gather(
            *(deployment.deliver(f"answer number {number}", reply_to=sent.message_id) for number in range(5))
        )
    assert sorted(receipt.outcome for receipt in receipts) == ["delivered", *["undeliverable"] * 4]


async def test_without_reply_to_the_newest_open_window_of_the_chat_is_used(watch: Watch) -> None:
    clock = ManualClock()
    agent = RecordingAgent(lambda _message: "")
    async with Deployment(watch, agent=agent, clock=clock, plugins=[Silencer()]) as deployment:
        older = await deployment.send(Text("the older message"))
        clock.pass_seconds(1)
        newer = await deployment.send(Text("the newer message"))
        await deployment.send(Text("in another chat"), user="bob")
        await watch.until("answer withheld", 3)
        for sent, content in ((newer, "a first word"), (older, "a second word")):
            assert (await deployment.deliver(content)).outcome == "delivered"
            assert (await sent.reply()).content == content
        assert (await deployment.deliver("a third word")).reason == "no_reply_window"


async def test_an_answer_to_another_chat_does_not_claim_the_window(watch: Watch) -> None:
    agent = RecordingAgent(lambda _message: "")
    async with Deployment(watch, agent=agent, plugins=[Silencer()]) as deployment:
        sent = await deployment.send(Text("only for alice"))
        await watch.until("answer withheld")
        receipt = await deployment.deliver("for another chat", chat_id="bob", reply_to=sent.message_id)
        assert receipt.reason == "no_reply_window"
        assert (await deployment.deliver("for alice", reply_to=sent.message_id)).outcome == "delivered"


async def test_an_event_opens_no_window(watch: Watch) -> None:
    """WeCom would accept an answer, but no agent writes one to an event."""
    async with Deployment(watch) as deployment:
        await deployment.send(CardClick("approve", "task-1"))
        assert (await deployment.deliver("thank you for clicking")).reason == "no_reply_window"


@pytest.mark.parametrize("blank", ["", "   ", "\n\n", "\u3000\t", "\x00\x1b"])
async def test_in_place_of_a_blank_answer_a_sentence_is_sent(watch: Watch, blank: str) -> None:

    def reply(_message: InboundMessage) -> str:
        return blank

    async with Deployment(watch, agent=RecordingAgent(reply)) as deployment:
        assert await deployment.ask("say something") == ANSWER_EMPTY.en
        assert await deployment.ask("说点什么") == ANSWER_EMPTY.zh
        assert await deployment.metric("explanations_total", reason="empty_answer") == 2
        assert await deployment.metric("replies_total", outcome="delivered", reason="ok") == 2


async def test_a_deliberate_silence_sends_nothing_and_is_no_failure(watch: Watch) -> None:
    """It leaves the reply window open."""
    async with Deployment(watch, agent=RecordingAgent(lambda _message: ""), plugins=[Silencer()]) as deployment:
        sent = await deployment.send(Text("a remark"))
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason, receipt.attempts) == ("undeliverable", "silent", 0)
        assert deployment.wecom.recorded.posts == {}
        assert (await deployment.deliver("something", reply_to=sent.message_id)).outcome == "delivered"
    assert watch.logged("answer withheld")
    assert not watch.logged("answer not delivered")
    assert not watch.logged("wecom reply not delivered")
