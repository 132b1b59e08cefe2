"""What each answer means for a reply, and when there is another attempt."""

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
    """First by status, then by errcode; a 2xx that is not WeCom's JSON is no success."""
    verdict = judge_answer(status, body)
    assert (verdict.outcome, verdict.reason, verdict.retry) == (outcome, reason, retry)


@pytest.mark.parametrize("errcode", [-1, 6000, 45033, 44004, 60140, 99999])
def test_a_verdict_on_an_errcode_keeps_it(errcode: int) -> None:
    """Several share a reason, and the log says which it was; an answer without one has none."""
    assert judge_answer(200, answer(errcode)).errcode == errcode
    assert judge_answer(500, answer(errcode)).errcode is None


@pytest.mark.parametrize("reason", get_args(NotSentReason))
def test_what_never_left_is_repeated_unless_it_is_hopeless(reason: NotSentReason) -> None:
    """A forbidden address or a broken URL will be the same next time."""
    verdict = judge_failure(RequestNotSent(reason=reason))
    assert verdict == Verdict("undeliverable", reason, retry=reason not in {"forbidden_address", "bad_url"})


@pytest.mark.parametrize("reason", get_args(LostReason))
def test_what_left_without_an_answer_is_not_repeated(reason: LostReason) -> None:
    """It may have arrived, and would be shown twice."""
    assert judge_failure(AnswerLost(reason=reason)) == Verdict("unknown", reason)


def test_a_spent_window_means_something_else_after_a_crash() -> None:
    """The reply of the process that died had arrived, as far as anybody can know; other verdicts stay."""
    spent, ok = judge_answer(200, answer(60140)), judge_answer(200, answer(0))
    assert judge_repeat(spent, repeated=False) == spent
    assert judge_repeat(spent, repeated=True) == Verdict("unknown", "repeated", errcode=60140)
    assert judge_repeat(ok, repeated=True) == ok


def test_every_verdict_is_a_label_of_the_metric() -> None:
    """The label values are closed; so are those of the repeats."""
    verdicts = [judge_answer(status, body) for status, body, *_ in ANSWERS]
    verdicts += [judge_failure(RequestNotSent(reason=reason)) for reason in get_args(NotSentReason)]
    verdicts += [judge_failure(AnswerLost(reason=reason)) for reason in get_args(LostReason)]
    verdicts += [delivery.EXPIRED, judge_repeat(judge_answer(200, answer(60140)), repeated=True)]
    for verdict in verdicts:
        assert verdict.reason in REASONS[verdict.outcome]
        assert not verdict.retry or verdict.reason in get_args(RetryReason)
    produced = {(verdict.outcome, verdict.reason) for verdict in verdicts}
    never_judged = {("undeliverable", "empty"), ("undeliverable", "state")}
    labels = {(outcome, reason) for outcome, reasons in REASONS.items() for reason in reasons}
    assert labels - produced == never_judged


def test_delays_grow_with_full_jitter() -> None:
    """Anything from nothing to half a second, then to two seconds."""
    assert next_delay(1, fraction=0.0, seconds_left=100) == 0.0
    assert next_delay(1, fraction=1.0, seconds_left=100) == 0.5
    assert next_delay(2, fraction=1.0, seconds_left=100) == 2.0
    assert next_delay(2, fraction=0.5, seconds_left=100) == 1.0


def test_there_are_three_attempts_and_none_after_the_windows_end() -> None:
    """Whichever comes first."""
    assert MAX_ATTEMPTS == 3
    assert next_delay(3, fraction=0.0, seconds_left=100) is None
    assert next_delay(1, fraction=1.0, seconds_left=0.5) is None
    assert next_delay(1, fraction=0.9, seconds_left=0.5) == pytest.approx(0.45)
    assert next_delay(1, fraction=0.0, seconds_left=0.0) is None
    assert next_delay(1, fraction=0.0, seconds_left=-1.0) is None


def test_an_errcode_is_explained_for_the_log() -> None:
    """In words, or with the page that has them; each that has a reason of its own has words."""
    explained = (0, -1, 6000, 40008, 40033, 44004, 45002, 45009, 45033, 60140)
    assert not [errcode for errcode in explained if "90313" in delivery.meaning(errcode)]
    assert delivery.meaning(44004) == "empty content"
    assert "see 90313" in delivery.meaning(12345)
