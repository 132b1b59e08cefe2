"""A request is answered once."""

from __future__ import annotations

import pytest

from maven_channel_wecom.server.answer import Answer, error_answer
from maven_channel_wecom.server.receiver import Request


def test_an_answer_is_handed_on() -> None:
    answers: list[Answer] = []
    Request("POST", b"a=b", b"{}", answers.append).answer(error_answer(401))
    assert answers == [error_answer(401)]


def test_a_second_answer_is_an_error_and_not_sent() -> None:
    answers: list[Answer] = []
    request = Request("POST", b"", b"", answers.append)
    request.answer(error_answer(401))
    with pytest.raises(RuntimeError, match="answered once"):
        request.answer(error_answer(400))
    assert answers == [error_answer(401)]
