"""What an agent is asked and returns; its error: what is logged, and what the user reads."""

from __future__ import annotations

import msgspec
import pytest

from maven_channel_wecom.contract.messages import TextBlock
from maven_channel_wecom.host.agents.agent import AgentError, Answer, Exchange, Failure, question
from maven_channel_wecom.sentences import Sentence
from tests.host.fake_channel import message, turn

BUSY = Failure("http_429", Sentence("智能体正忙。", "The agent is busy."))


@pytest.mark.parametrize(
    ("code", "facts", "text"),
    [
        ("", {"reason": "http_429"}, "http_429"),
        ("slow_down", {"reason": "http_429", "code": "slow_down"}, "http_429 slow_down"),
    ],
    ids=["without a code", "with a code"],
)
def test_the_log_gets_reason_and_code_but_no_partial_answer(code: str, facts: dict[str, str], text: str) -> None:
    error = AgentError(BUSY, code=code, partial="canary-4711")
    assert error.facts == facts
    assert str(error) == text
    assert "canary-4711" not in repr(error)


@pytest.mark.parametrize(
    ("partial", "answer"),
    [
        ("", "The agent is busy."),
        (" \n", "The agent is busy."),
        ("half", "half\n\n(The answer breaks off here. The agent is busy.)"),
    ],
    ids=["nothing", "blank", "half an answer"],
)
def test_the_user_reads_the_partial_answer_and_the_reason(partial: str, answer: str) -> None:
    assert AgentError(BUSY, partial=partial).answer("en") == answer


@pytest.mark.parametrize(
    "value",
    [
        turn(message("canary-4711"))._replace(speaker="canary-4711"),
        Answer("canary-4711"),
        Exchange(question=(TextBlock(text="canary-4711"),), answer="canary-4711", speaker="canary-4711"),
    ],
    ids=["turn", "answer", "exchange"],
)
def test_no_repr_shows_what_was_said_or_who_spoke(value: object) -> None:
    assert "canary-4711" not in repr(value)


def test_the_question_of_a_message_without_blocks_is_its_text() -> None:
    assert question(msgspec.structs.replace(message("hello"), content_blocks=())) == (TextBlock(text="hello"),)
