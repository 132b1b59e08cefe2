"""Tests for answers at and over WeCom's limit of 20,480 bytes: truncated, or continued in other open reply windows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import Text
from tests.e2e.deployment import Deployment
from tests.e2e.manual_clock import ManualClock
from tests.e2e.recording_agent import PARALLEL, RecordingAgent
from tests.e2e.silencer import Silencer

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.simulator.recorded import Reply
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.e2e.watch import Watch

LIMIT_BYTES = 20_480
CUT = "The answer was too long and ends here."
CONTINUED = "Continued in the next message."
CODE = "```python\n" + "print('a line of code that goes on')\n" * 1000 + "```\n"


class LongAnswerAgent(RecordingAgent):
    """Agent that sends a long answer to one question and nothing to every other message."""

    def __init__(self, answer: str) -> None:
        super().__init__(lambda message: answer if message.content == "tell me everything" else "")


async def replies_to_question(
    watch: Watch, deployment: Deployment, spares: int, *, user: str = "alice", group: str = ""
) -> list[Reply]:
    """Leave `spares` reply windows open, ask the question, and return every accepted reply in order of arrival."""
    spare_messages = [
        await deployment.send(Text(f"a remark number {number}"), user=user, group=group) for number in range(spares)
    ]
    await watch.until("answer withheld", spares) if spares else None
    await deployment.wait_until_idle()
    sent = await deployment.send(Text("tell me everything"), user="alice", group=group)
    await deployment.auditor.receipt_for(sent.message_id)
    assert {reply.message_id for reply in deployment.wecom.recorded.replies} <= {
        each.message_id for each in (*spare_messages, sent)
    }
    return deployment.wecom.recorded.replies


@pytest.mark.parametrize("text", ["x" * LIMIT_BYTES, "汉" * 6826 + "xx"], ids=["ascii", "three bytes each"])
async def test_an_answer_of_exactly_the_limit_is_sent_unchanged(watch: Watch, text: str) -> None:
    assert len(text.encode()) == LIMIT_BYTES
    async with Deployment(watch, agent=RecordingAgent(lambda _message: text)) as deployment:
        assert await deployment.ask("tell me everything") == text
        assert await deployment.metric("reply_truncations_total") == 0


@pytest.mark.parametrize(
    "text",
    ["x" * (LIMIT_BYTES + 1), "汉" * 6827, "汉字" * 9000, "👩‍👩‍👧‍👦" * 2000],
    ids=["one byte", "one character", "chinese", "families"],
)
async def test_a_longer_answer_is_cut_between_characters_with_a_notice(watch: Watch, text: str) -> None:
    """The limit includes the notice; the number of bytes cut is counted."""
    async with Deployment(watch, agent=RecordingAgent(lambda _message: text)) as deployment:
        sent = await deployment.send(Text("tell me everything"))
        content = (await sent.reply()).content
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        beginning = content[: content.index("\n\n> …")]
        assert content.endswith(CUT)
        assert LIMIT_BYTES - 64 < len(content.encode()) <= LIMIT_BYTES
        assert text.startswith(beginning)
        assert "\ufffd" not in content
        cut_bytes = len(text.encode()) - len(beginning.encode())
        assert (receipt.outcome, receipt.truncated_bytes) == ("delivered", cut_bytes)
        assert await deployment.metric("reply_truncations_total") == 1
        assert await deployment.metric("reply_truncated_bytes_total") == cut_bytes
    if "👩" in text:
        assert beginning.endswith("👦")


async def test_an_open_code_fence_is_closed_before_the_notice(watch: Watch) -> None:
    async with Deployment(watch, agent=RecordingAgent(lambda _message: CODE)) as deployment:
        content = await deployment.ask("tell me everything")
    assert len(content.encode()) <= LIMIT_BYTES
    assert content.endswith(CUT)
    assert len(re.findall(r"^```", content, re.MULTILINE)) == 2
    assert content.rindex("```") < content.index("> …")


async def test_overflow_continue_uses_spare_windows(watch: Watch) -> None:
    """The spare windows belong to earlier messages of the same user that were left without an answer on purpose."""
    words = "".join(f"word-{number:06} " for number in range(4000))
    async with Deployment(
        watch, {"overflow": "continue"}, agent=LongAnswerAgent(words), clock=ManualClock(), plugins=[Silencer()]
    ) as deployment:
        replies = await replies_to_question(watch, deployment, spares=3)
        assert await deployment.metric("reply_truncations_total") == 0
    assert len(replies) == 3
    assert all(len(reply.content.encode()) <= LIMIT_BYTES for reply in replies)
    assert [reply.content.endswith(CONTINUED) for reply in replies] == [True, True, False]
    assert "".join(reply.content.split("\n\n> …")[0] for reply in replies) == words.rstrip()


async def test_a_code_fence_is_closed_and_reopened_between_parts(watch: Watch) -> None:
    """Each part is complete markdown."""
    async with Deployment(
        watch, {"overflow": "continue"}, agent=LongAnswerAgent(CODE), clock=ManualClock(), plugins=[Silencer()]
    ) as deployment:
        first, second = await replies_to_question(watch, deployment, spares=1)
    for part in (first, second):
        assert len(re.findall(r"^```", part.content, re.MULTILINE)) == 2
    assert second.content.startswith("```python\n")


async def test_overflow_continue_truncates_when_no_window_is_left(watch: Watch) -> None:
    async with Deployment(
        watch, {"overflow": "continue"}, agent=LongAnswerAgent("x" * 70_000), clock=ManualClock(), plugins=[Silencer()]
    ) as deployment:
        first, second = await replies_to_question(watch, deployment, spares=1)
        assert await deployment.metric("reply_truncations_total") == 1
    assert first.content.endswith(CONTINUED)
    assert second.content.endswith(CUT)


async def test_overflow_continue_does_not_use_windows_of_other_users(watch: Watch) -> None:
    async with Deployment(
        watch, {"overflow": "continue"}, agent=LongAnswerAgent("x" * 30_000), plugins=[Silencer()]
    ) as deployment:
        (only,) = await replies_to_question(watch, deployment, spares=1, user="bob", group="g")
        assert await deployment.metric("reply_windows") == 1
    assert only.content.endswith(CUT)


async def test_overflow_continue_does_not_use_the_window_of_a_message_in_progress(watch: Watch) -> None:
    def reply(message: InboundMessage) -> str:
        return "x" * 30_000 if message.content == "tell me everything" else "an answer of its own"

    agent = RecordingAgent(reply)
    gate = agent.hold("another question")
    async with Deployment(watch, {"overflow": "continue"}, document=PARALLEL, agent=agent) as deployment:
        other: SentCallback = await deployment.send(Text("another question"))
        await agent.received("another question")
        assert (await deployment.ask("tell me everything")).endswith(CUT)
        gate.set()
        assert (await other.reply()).content == "an answer of its own"


async def test_overflow_truncate_uses_only_the_window_of_the_message(watch: Watch) -> None:
    """`truncate` is the default."""
    async with Deployment(watch, agent=LongAnswerAgent("x" * 30_000), plugins=[Silencer()]) as deployment:
        (only,) = await replies_to_question(watch, deployment, spares=2)
        assert await deployment.metric("reply_windows") == 2
    assert only.content.endswith(CUT)
