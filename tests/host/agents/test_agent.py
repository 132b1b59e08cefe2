"""The error of an agent: what is logged, and what the user reads."""

from __future__ import annotations

import pytest

from maven_channel_wecom.host.agents.agent import AgentError, Failure
from maven_channel_wecom.sentences import Sentence

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
