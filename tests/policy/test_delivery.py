"""Verdicts on answers and failures, and the delays between attempts."""

from typing import get_args

import pytest

from maven_channel_wecom.errors import (
    AnswerLost,
    LostReason,
    NotSentReason,
    RefusedReason,
    RequestNotSent,
    RetryReason,
    UndeliverableReason,
    UnknownReason,
)
from maven_channel_wecom.policy import delivery
from maven_channel_wecom.policy.delivery import (
    MAX_ATTEMPTS,
    Verdict,
    judge_answer,
    judge_failure,
    judge_repeat,
    may_have_arrived,
    next_delay,
)

REASONS = {
    "delivered": ("ok",),
    "undeliverable": get_args(UndeliverableReason),
    "refused": get_args(RefusedReason),
    "unknown": get_args(UnknownReason),
}


def answer(errcode: int) -> bytes:
    return b'{"errcode":%d,"errmsg":"canary"}' % errcode


ANSWERS = [
    (200, answer(0), "delivered", "ok", False),
    (201, answer(0), "delivered", "ok", False),
    (200, answer(-1), "undeliverable", "busy", True),
    (200, answer(6000), "undeliverable", "conflict", True),
    (200, answer(45033), "undeliverable", "concurrency", True),
    (500, b"", "undeliverable", "http_5xx", True),
    (503, answer(0), "undeliverable", "http_5xx", True),
    (200, answer(44004), "refused", "empty", False),
    (200, answer(45002), "refused", "too_long", False),
    (200, answer(40008), "refused", "invalid_type", False),
    (200, answer(40033), "refused", "invalid_characters", False),
    (200, answer(45009), "refused", "rate_limit", False),
    (200, answer(60140), "refused", "window_spent", False),
    (200, answer(99999), "refused", "errcode", False),
    (300, answer(0), "refused", "http_3xx", False),
    (302, b"", "refused", "http_3xx", False),
    (400, answer(0), "refused", "http_4xx", False),
    (404, b"", "refused", "http_4xx", False),
    (429, b"", "refused", "http_4xx", False),
    (200, b"", "unknown", "unreadable_answer", False),
    (200, b"<html>login</html>", "unknown", "unreadable_answer", False),
    (204, b"", "unknown", "unreadable_answer", False),
    (101, b"", "unknown", "unreadable_answer", False),
    (999, b"", "unknown", "unreadable_answer", False),
]


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason", "retry"),
    [pytest.param(*row, id=f"{row[0]}-{row[1].decode()[:20]}") for row in ANSWERS],
)
def test_an_answer_has_one_of_four_outcomes(
    status: int,
    body: bytes,
    outcome: str,
    reason: str,
    retry: bool,  # noqa: FBT001 - a column of a table
) -> None:
    verdict = judge_answer(status, body)
    assert (verdict.outcome, verdict.reason, verdict.retry) == (outcome, reason, retry)


@pytest.mark.parametrize("errcode", [-1, 6000, 45033, 44004, 60140, 99999])
def test_a_verdict_contains_the_errcode_of_an_answer(errcode: int) -> None:
    """Several errcodes share a reason, and the log needs the exact one."""
    assert judge_answer(200, answer(errcode)).errcode == errcode
    assert judge_answer(500, answer(errcode)).errcode is None


@pytest.mark.parametrize("reason", get_args(NotSentReason))
def test_a_request_that_was_not_sent_is_retried_unless_its_url_is_unusable(reason: NotSentReason) -> None:
    verdict = judge_failure(RequestNotSent(reason=reason))
    assert verdict == Verdict("undeliverable", reason, retry=reason not in {"forbidden_address", "bad_url"})


@pytest.mark.parametrize("reason", get_args(LostReason))
def test_a_request_whose_answer_was_lost_is_not_retried(reason: LostReason) -> None:
    """It may have arrived, and the user would see the reply twice."""
    assert judge_failure(AnswerLost(reason=reason)) == Verdict("unknown", reason)


def test_every_answer_that_is_retried_may_come_from_a_gateway_behind_which_the_reply_arrived() -> None:
    verdicts = [judge_answer(status, body) for status, body, *_ in ANSWERS]
    assert [verdict for verdict in verdicts if may_have_arrived(verdict)] == [v for v in verdicts if v.retry]
    assert not any(may_have_arrived(judge_failure(RequestNotSent(reason=r))) for r in get_args(NotSentReason))


def test_a_spent_window_after_an_attempt_that_may_have_arrived_is_an_unknown_outcome() -> None:
    """That attempt has probably arrived. Other verdicts do not change."""
    spent, ok = judge_answer(200, answer(60140)), judge_answer(200, answer(0))
    assert judge_repeat(spent, repeated=False) == spent
    assert judge_repeat(spent, repeated=True) == Verdict("unknown", "repeated", errcode=60140)
    assert judge_repeat(ok, repeated=True) == ok


def test_every_verdict_has_a_label_of_the_metric_and_every_label_a_verdict() -> None:
    verdicts = [judge_answer(status, body) for status, body, *_ in ANSWERS]
    verdicts += [judge_failure(RequestNotSent(reason=reason)) for reason in get_args(NotSentReason)]
    verdicts += [judge_failure(AnswerLost(reason=reason)) for reason in get_args(LostReason)]
    verdicts += [delivery.EXPIRED, delivery.CANCELLED, judge_repeat(judge_answer(200, answer(60140)), repeated=True)]
    for verdict in verdicts:
        assert verdict.reason in REASONS[verdict.outcome]
        assert not verdict.retry or verdict.reason in get_args(RetryReason)
    produced = {(verdict.outcome, verdict.reason) for verdict in verdicts}
    never_judged = {("undeliverable", each) for each in ("empty", "silent", "state")}
    labels = {(outcome, reason) for outcome, reasons in REASONS.items() for reason in reasons}
    assert labels - produced == never_judged


def test_delays_grow_with_full_jitter() -> None:
    assert next_delay(1, fraction=0.0, seconds_left=100) == 0.0
    assert next_delay(1, fraction=1.0, seconds_left=100) == 0.5
    assert next_delay(2, fraction=1.0, seconds_left=100) == 2.0
    assert next_delay(2, fraction=0.5, seconds_left=100) == 1.0


def test_there_are_at_most_three_attempts_and_none_after_the_window_expired() -> None:
    assert MAX_ATTEMPTS == 3
    assert next_delay(3, fraction=0.0, seconds_left=100) is None
    assert next_delay(1, fraction=1.0, seconds_left=0.5) is None
    assert next_delay(1, fraction=0.9, seconds_left=0.5) == pytest.approx(0.45)
    assert next_delay(1, fraction=0.0, seconds_left=0.0) is None
    assert next_delay(1, fraction=0.0, seconds_left=-1.0) is None


def test_known_errcodes_have_a_meaning_and_others_refer_to_the_page() -> None:
    known = (0, -1, 6000, 40008, 40033, 44004, 45002, 45009, 45033, 60140)
    assert not [errcode for errcode in known if "90313" in delivery.meaning(errcode)]
    assert delivery.meaning(44004) == "empty content"
    assert delivery.meaning(12345) == "unknown errcode; see page 90313 of WeCom's documentation"
