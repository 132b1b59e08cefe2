"""The failures of an agent behind HTTP."""

from __future__ import annotations

import re

import pytest

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import Failure

FAILURES = [each for each in vars(agent_failures).values() if isinstance(each, Failure)]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 413, 429])
def test_statuses_with_a_known_cause_have_a_sentence_of_their_own(status: int) -> None:
    failure = agent_failures.for_status(status)
    assert failure.reason == f"http_{status}"
    assert failure.sentence != agent_failures.FAILED.sentence


@pytest.mark.parametrize("status", [418, 500, 503])
def test_other_statuses_have_the_general_sentence(status: int) -> None:
    assert agent_failures.for_status(status) == Failure(f"http_{status}", agent_failures.FAILED.sentence)


def test_a_message_may_be_refused_because_of_what_precedes_it() -> None:
    may_be = [agent_failures.CONTEXT_LENGTH, *map(agent_failures.for_status, (400, 413, 422))]
    others = [agent_failures.TIMEOUT, *map(agent_failures.for_status, (401, 404, 429, 500))]
    assert all(map(agent_failures.may_concern_history, may_be))
    assert not any(map(agent_failures.may_concern_history, others))


def test_each_reason_is_one_word_and_occurs_once() -> None:
    reasons = [failure.reason for failure in FAILURES]
    assert len(set(reasons)) == len(reasons) > 1
    assert all(re.fullmatch("[a-z_]+", reason) for reason in reasons)


def test_each_way_not_to_connect_has_a_sentence_of_its_own() -> None:
    failures = [
        agent_failures.CONNECT,
        agent_failures.CONNECT_TIMEOUT,
        agent_failures.REFUSED,
        agent_failures.DNS,
        agent_failures.TLS,
    ]
    assert len({failure.sentence for failure in failures}) == len(failures)


def test_the_sentence_about_an_attachment_names_its_kind() -> None:
    failure = agent_failures.with_attachment(agent_failures.for_status(422), "picture")
    assert (failure.reason, "picture" in failure.sentence.en, "图片" in failure.sentence.zh) == ("http_422", True, True)
