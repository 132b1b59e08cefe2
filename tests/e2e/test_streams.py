"""Tests for what people see before an answer is complete: a notice, or the answer as it grows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.policy.stream import StreamTimes, stream_id
from maven_channel_wecom.sentences import PROGRESS, STREAM_CONTINUES, STREAM_ENDED, VOICE_EMPTY
from maven_channel_wecom.simulator.messages import EnterChat, StreamRefresh, Text, Voice
from maven_channel_wecom.simulator.refresh_faults import CutRefresh, LostAnswer, RepeatedRefresh
from tests.e2e.deployment import Deployment
from tests.e2e.manual_clock import ManualClock
from tests.e2e.recording_agent import RecordingAgent
from tests.e2e.silencer import Silencer
from tests.e2e.writing_agent import WritingAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maven_channel_wecom.simulator.bubbles import Bubble
    from maven_channel_wecom.simulator.refresh_faults import RefreshFault
    from tests.e2e.watch import Watch

STREAM = {"progress": "stream"}
QUESTION = "a question for a stream"
CUT = "The answer was too long and ends here."


def streaming(watch: Watch, settings: Mapping[str, object] = STREAM, **options: Any) -> Deployment:  # noqa: ANN401 - the options of Deployment
    """Return a deployment whose WeCom asks for frames fifty times a second."""
    deployment = Deployment(watch, settings, **options)
    deployment.wecom.refresh_seconds = 0.02
    return deployment


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a bubble fulfils a condition. It reports only its end."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no notification
            await asyncio.sleep(0.01)


async def seen(bubble: Bubble | None, text: str) -> None:
    """Wait until a bubble shows a text."""
    assert bubble
    await until(lambda: bubble.text == text)


async def refreshed(bubble: Bubble | None) -> None:
    """Wait until a refresh that was sent after this call is answered. The one before it may be under way."""
    assert bubble
    answered = bubble.refreshes
    await until(lambda: bubble.refreshes >= answered + 2)


async def test_a_person_sees_the_answer_grow_and_gets_it_once(watch: Watch) -> None:
    agent = WritingAgent()
    async with streaming(watch, agent=agent) as deployment:
        sent = await deployment.send(Text(QUESTION))
        assert sent.bubble
        assert sent.bubble.text == PROGRESS.en
        agent.text = "half of an answer in a stream"
        await seen(sent.bubble, agent.text)
        agent.text += " and its other half"
        agent.done.set()
        bubble = await sent.bubble_finished()
        assert bubble.text == "half of an answer in a stream and its other half"
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.attempts) == ("delivered", 0)
        await deployment.wait_until_idle()
        assert deployment.wecom.recorded.posts == {}
        assert await deployment.metric("streams_total", outcome="fetched") == 1
        assert await deployment.metric("reply_windows") == 0


async def test_reasoning_never_reaches_a_chat(watch: Watch) -> None:
    agent = WritingAgent("<think>a secret thought of the agent")
    async with streaming(watch, agent=agent) as deployment:
        sent = await deployment.send(Text(QUESTION))
        await agent.read.wait()
        await refreshed(sent.bubble)
        agent.text += "</think>the answer without a thought"
        agent.done.set()
        bubble = await sent.bubble_finished()
        assert not any("thought of the agent" in frame.content for frame in bubble.frames)
        assert bubble.text == "the answer without a thought"


async def test_a_notice_is_shown_at_once_and_the_answer_follows_as_a_message(watch: Watch) -> None:
    async with streaming(watch, {"progress": "notice", "progressText": "one moment please"}) as deployment:
        sent = await deployment.send(Text(QUESTION))
        assert sent.bubble
        assert sent.bubble.is_finished
        assert sent.bubble.text == "one moment please"
        assert (await sent.reply()).content == QUESTION


async def test_without_refreshes_the_answer_follows_as_a_message(watch: Watch) -> None:
    """The clock of the test jumps over the eight seconds."""
    agent = WritingAgent("an answer that no refresh fetched")
    async with streaming(watch, agent=agent, clock=ManualClock(), plugins=[Silencer()]) as deployment:
        deployment.wecom.refresh_seconds = 3600
        sent = await deployment.send(Text(QUESTION))
        agent.done.set()
        assert (await sent.reply()).content == "an answer that no refresh fetched"
        await deployment.wait_until_idle()
        assert await deployment.metric("streams_total", outcome="handed_over") == 1


async def test_an_answer_that_outlives_its_stream_follows_as_a_message(watch: Watch) -> None:
    clock = ManualClock()
    agent = WritingAgent("half of a very slow answer")
    async with streaming(watch, agent=agent, clock=clock, plugins=[Silencer()]) as deployment:
        sent = await deployment.send(Text(QUESTION))
        await seen(sent.bubble, agent.text)
        clock.pass_seconds(StreamTimes().life)
        bubble = await sent.bubble_finished()
        assert bubble.text == f"half of a very slow answer\n\n> {STREAM_CONTINUES.en}"
        agent.text += " and its other half"
        agent.done.set()
        assert (await sent.reply()).content == "half of a very slow answer and its other half"
        await deployment.wait_until_idle()
        assert await deployment.metric("streams_total", outcome="ended") == 1


async def test_a_stream_that_wecom_stops_refreshing_is_forgotten_and_counted(watch: Watch) -> None:
    clock = ManualClock()
    agent = WritingAgent("an answer for nobody")
    async with streaming(watch, agent=agent, clock=clock, plugins=[Silencer()]) as deployment:
        deployment.wecom.refresh_seconds = 3600
        sent = await deployment.send(Text(QUESTION))
        await agent.asked.wait()
        clock.pass_seconds(StreamTimes().forgotten)
        async with asyncio.timeout(10):
            while not await deployment.metric("streams_total", outcome="abandoned"):
                pass
        agent.done.set()
        assert (await sent.reply()).content == "an answer for nobody"


@pytest.mark.parametrize("fault", [LostAnswer(), RepeatedRefresh(), CutRefresh()], ids=["lost", "repeated", "cut"])
async def test_every_message_is_answered_whatever_becomes_of_its_refreshes(watch: Watch, fault: RefreshFault) -> None:
    """A lost last frame is given again."""
    async with streaming(watch) as deployment:
        for _ in range(3):
            deployment.wecom.refresh_faults.add(fault)
        sent = await deployment.send(Text(QUESTION))
        assert (await sent.bubble_finished()).text == QUESTION
        await deployment.wait_until_idle()
        assert deployment.wecom.recorded.posts == {}


async def test_a_repeated_message_gets_the_same_stream(watch: Watch) -> None:
    agent = WritingAgent()
    async with streaming(watch, agent=agent) as deployment:
        sent = await deployment.send(Text(QUESTION))
        again = await deployment.wecom.redeliver(sent)
        assert again.bubble is sent.bubble
        agent.text = "one answer for both"
        agent.done.set()
        assert (await sent.bubble_finished()).text == "one answer for both"
        assert await deployment.metric("dedup_hits_total") == 1


async def test_a_refresh_of_another_chat_learns_nothing(watch: Watch) -> None:
    agent = WritingAgent("a secret of the first chat")
    async with streaming(watch, agent=agent) as deployment:
        sent = await deployment.send(Text(QUESTION), user="alice")
        await seen(sent.bubble, agent.text)
        for refresh in (StreamRefresh(stream_id("wecom", sent.message_id)), StreamRefresh("unheard-of")):
            answer = await deployment.wecom.send(refresh, user="bob")
            assert STREAM_ENDED.zh.encode() in (answer.acknowledgement or b"")
            assert b"secret" not in (answer.acknowledgement or b"")
        assert await deployment.metric("stream_refreshes_total", outcome="unknown") == 2
        agent.done.set()
        await sent.bubble_finished()


@pytest.mark.parametrize("progress", ["notice", "stream"])
async def test_an_empty_voice_message_is_explained_at_once(watch: Watch, progress: str) -> None:
    agent = RecordingAgent()
    async with streaming(watch, {"progress": progress}, agent=agent) as deployment:
        sent = await deployment.send(Voice(""))
        assert sent.bubble
        assert sent.bubble.is_finished
        assert sent.bubble.text == VOICE_EMPTY.zh
        await deployment.wait_until_idle()
        assert deployment.wecom.recorded.posts == {}
        assert agent.messages == []
        assert await deployment.metric("explanations_total", reason="empty_message") == 1


async def test_a_refused_person_is_told_in_the_acknowledgement(watch: Watch) -> None:
    settings = STREAM | {"allowFrom": ["bob"], "refusalText": {"zh": "抱歉", "en": "you are not on the list"}}
    async with streaming(watch, settings) as deployment:
        sent = await deployment.send(Text(QUESTION))
        assert sent.bubble
        assert (sent.bubble.is_finished, sent.bubble.text) == (True, "you are not on the list")
        again = await deployment.send(Text(QUESTION))
        assert again.bubble is None
        assert deployment.wecom.recorded.posts == {}
        entered = await deployment.send(EnterChat())
        assert entered.welcome is None


async def test_an_agent_without_an_answer_leaves_a_sentence_in_the_stream(watch: Watch) -> None:
    async with streaming(watch, agent=RecordingAgent(lambda _: "\u200b")) as deployment:
        sent = await deployment.send(Text(QUESTION))
        assert (await sent.bubble_finished()).text == "The agent gave no answer; please try again in other words."


async def test_deliberate_silence_leaves_the_stream_as_it_stands(watch: Watch) -> None:
    async with streaming(watch, plugins=[Silencer()], agent=RecordingAgent(lambda _: "")) as deployment:
        sent = await deployment.send(Text(QUESTION))
        assert (await sent.bubble_finished()).text == PROGRESS.en
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.reason) == ("undeliverable", "silent")


async def test_a_long_answer_ends_in_the_last_frame(watch: Watch) -> None:
    async with streaming(watch, agent=RecordingAgent(lambda _: "x" * 30_000)) as deployment:
        sent = await deployment.send(Text(QUESTION))
        content = (await sent.bubble_finished()).text
        assert content.endswith(CUT)
        await deployment.wait_until_idle()
        assert deployment.wecom.recorded.posts == {}
        assert await deployment.metric("reply_truncations_total") == 1


async def test_a_long_answer_continues_in_a_message(watch: Watch) -> None:
    settings = STREAM | {"overflow": "continue"}
    text = "a long answer " * 2_000
    async with streaming(watch, settings, agent=RecordingAgent(lambda _: text)) as deployment:
        sent = await deployment.send(Text(QUESTION))
        first = (await sent.bubble_finished()).text
        second = (await sent.reply()).content
        joined = first.partition("\n\n> …")[0] + second
        assert joined == text.rstrip()
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        assert (receipt.outcome, receipt.attempts, receipt.truncated_bytes) == ("delivered", 1, 0)


async def test_a_stop_answers_what_is_written_and_ends_what_is_not(watch: Watch) -> None:
    """Refreshes are answered until the listener closes."""
    agent = WritingAgent("half of an answer before the stop")
    async with streaming(watch, STREAM | {"drainSeconds": 2.2}, agent=agent) as deployment:
        sent = await deployment.send(Text(QUESTION))
        await seen(sent.bubble, agent.text)
        stopping = asyncio.ensure_future(deployment.host.stop())
        bubble = await sent.bubble_finished()
        assert bubble.text == f"half of an answer before the stop\n\n> {STREAM_ENDED.en}"
        await stopping


async def test_an_answer_that_ends_during_a_stop_is_still_fetched(watch: Watch) -> None:
    agent = WritingAgent("an answer during the stop")
    async with streaming(watch, agent=agent) as deployment:
        sent = await deployment.send(Text(QUESTION))
        await agent.asked.wait()
        stopping = asyncio.ensure_future(deployment.host.stop())
        async with asyncio.timeout(10):
            while (await deployment.channel().health()).ready:  # noqa: ASYNC110 - there is no notification
                await asyncio.sleep(0)
        agent.done.set()
        assert (await sent.bubble_finished()).text == "an answer during the stop"
        await stopping
        assert deployment.wecom.recorded.posts == {}


async def test_refreshes_in_the_mode_off_get_an_empty_reply(watch: Watch) -> None:
    async with Deployment(watch) as deployment:
        answer = await deployment.wecom.send(StreamRefresh("a stream of yesterday"))
        assert answer.acknowledgement == b'"success"'
        assert await deployment.metric("inbound_messages_total", type="stream", outcome="unsupported") == 1
