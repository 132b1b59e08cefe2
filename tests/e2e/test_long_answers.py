"""Answers at and over WeCom's limit of 20,480 bytes: cut, announced, or continued on spare windows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from maven_channel_wecom.simulator.messages import Text
from tests.e2e.agents import Listener
from tests.e2e.deployment import Deployment
from tests.e2e.hand_clock import HandClock

if TYPE_CHECKING:
    from maven_channel_wecom.contract.messages import InboundMessage
    from maven_channel_wecom.simulator.recorded import Reply
    from maven_channel_wecom.simulator.sent import SentCallback
    from tests.e2e.watch import Watch

LIMIT_BYTES = 20_480
CUT = "(The answer was too long and ends here.)"
CONTINUED = "(Continued in the next message.)"
CODE = "```python\n" + "print('a line of code that goes on')\n" * 1000 + "```\n"


class Quiet(Listener):
    """Says nothing but to the one question that gets a long answer."""

    def __init__(self, answer: str) -> None:
        super().__init__(lambda message: answer if message.content == "tell me everything" else "")


async def answered(
    watch: Watch, deployment: Deployment, spares: int, *, user: str = "alice", group: str = ""
) -> list[Reply]:
    """Leave some windows open, ask, and return every accepted reply in the order it came."""
    spare_messages = [
        await deployment.send(Text(f"a remark number {number}"), user=user, group=group) for number in range(spares)
    ]
    await watch.until("answer not delivered", spares) if spares else None
    await deployment.settled()
    sent = await deployment.send(Text("tell me everything"), user="alice", group=group)
    await deployment.auditor.receipt_for(sent.message_id)
    assert {reply.message_id for reply in deployment.wecom.recorded.replies} <= {
        each.message_id for each in (*spare_messages, sent)
    }
    return deployment.wecom.recorded.replies


@pytest.mark.parametrize("text", ["x" * LIMIT_BYTES, "汉" * 6826 + "xx"], ids=["ascii", "three bytes each"])
async def test_an_answer_of_exactly_the_limit_goes_out_untouched(watch: Watch, text: str) -> None:
    """Not a byte more, not a byte less, nothing announced."""
    assert len(text.encode()) == LIMIT_BYTES
    async with Deployment(watch, agent=Listener(lambda _message: text)) as deployment:
        assert await deployment.ask("tell me everything") == text
        assert await deployment.metric("reply_truncations_total") == 0


@pytest.mark.parametrize(
    "text",
    ["x" * (LIMIT_BYTES + 1), "汉" * 6827, "汉字" * 9000, "👩‍👩‍👧‍👦" * 2000],
    ids=["one byte", "one character", "chinese", "families"],
)
async def test_a_longer_answer_is_cut_between_characters_and_says_so(watch: Watch, text: str) -> None:
    """Inside the limit, the announcement included; what was cut is counted."""
    async with Deployment(watch, agent=Listener(lambda _message: text)) as deployment:
        sent = await deployment.send(Text("tell me everything"))
        shown = (await sent.reply()).content
        receipt = await deployment.auditor.receipt_for(sent.message_id)
        kept = shown[: shown.index("\n\n> …")]
        assert shown.endswith(CUT)
        assert LIMIT_BYTES - 64 < len(shown.encode()) <= LIMIT_BYTES
        assert text.startswith(kept)
        assert "\ufffd" not in shown
        lost_bytes = len(text.encode()) - len(kept.encode())
        assert (receipt.outcome, receipt.truncated_bytes) == ("delivered", lost_bytes)
        assert await deployment.metric("reply_truncations_total") == 1
        assert await deployment.metric("reply_truncated_bytes_total") == lost_bytes
    if "👩" in text:
        assert kept.endswith("👦")


async def test_an_open_code_fence_is_closed_before_the_announcement(watch: Watch) -> None:
    """The announcement is prose, and not the last line of a program."""
    async with Deployment(watch, agent=Listener(lambda _message: CODE)) as deployment:
        shown = await deployment.ask("tell me everything")
    assert len(shown.encode()) <= LIMIT_BYTES
    assert shown.endswith(CUT)
    assert len(re.findall(r"^```", shown, re.MULTILINE)) == 2
    assert shown.rindex("```") < shown.index("> …")


async def test_overflow_continue_goes_on_through_spare_windows(watch: Watch) -> None:
    """Earlier remarks of the same person that nobody answered; nothing is lost and the order is kept."""
    words = "".join(f"word-{number:06} " for number in range(4000))
    async with Deployment(watch, {"overflow": "continue"}, agent=Quiet(words), clock=HandClock()) as deployment:
        replies = await answered(watch, deployment, spares=3)
        assert await deployment.metric("reply_truncations_total") == 0
    assert len(replies) == 3
    assert all(len(reply.content.encode()) <= LIMIT_BYTES for reply in replies)
    assert [reply.content.endswith(CONTINUED) for reply in replies] == [True, True, False]
    assert "".join(reply.content.split("\n\n> …")[0] for reply in replies) == words


async def test_a_fence_is_closed_and_opened_again_at_a_seam(watch: Watch) -> None:
    """Each part is whole markdown."""
    async with Deployment(watch, {"overflow": "continue"}, agent=Quiet(CODE), clock=HandClock()) as deployment:
        first, second = await answered(watch, deployment, spares=1)
    for part in (first, second):
        assert len(re.findall(r"^```", part.content, re.MULTILINE)) == 2
    assert second.content.startswith("```python\n")


async def test_overflow_continue_cuts_where_no_window_is_left(watch: Watch) -> None:
    """The last part says that there was more."""
    async with Deployment(watch, {"overflow": "continue"}, agent=Quiet("x" * 70_000), clock=HandClock()) as deployment:
        first, second = await answered(watch, deployment, spares=1)
        assert await deployment.metric("reply_truncations_total") == 1
    assert first.content.endswith(CONTINUED)
    assert second.content.endswith(CUT)


async def test_overflow_continue_leaves_the_windows_of_others_alone(watch: Watch) -> None:
    """In a group, what bob may still be told is not used up for alice."""
    async with Deployment(watch, {"overflow": "continue"}, agent=Quiet("x" * 30_000)) as deployment:
        (only,) = await answered(watch, deployment, spares=1, user="bob", group="g")
        assert await deployment.metric("reply_windows") == 1
    assert only.content.endswith(CUT)


async def test_overflow_continue_leaves_a_question_its_own_answer(watch: Watch) -> None:
    """A message that is being thought about is not spare."""

    def say(message: InboundMessage) -> str:
        return "x" * 30_000 if message.content == "tell me everything" else "an answer of its own"

    agent = Listener(say)
    gate = agent.hold("another question")
    async with Deployment(watch, {"overflow": "continue"}, agent=agent) as deployment:
        other: SentCallback = await deployment.send(Text("another question"))
        await agent.hears("another question")
        assert (await deployment.ask("tell me everything")).endswith(CUT)
        gate.set()
        assert (await other.reply()).content == "an answer of its own"


async def test_overflow_truncate_uses_no_other_window(watch: Watch) -> None:
    """The default."""
    async with Deployment(watch, agent=Quiet("x" * 30_000)) as deployment:
        (only,) = await answered(watch, deployment, spares=2)
        assert await deployment.metric("reply_windows") == 2
    assert only.content.endswith(CUT)
