"""The outcome of an attempt to deliver a reply, and whether and when it is retried.

A `response_url` works once, so a POST is retried only if WeCom says that it failed, or it was not sent. A retry after
a lost answer could use up the URL for nothing.

WeCom's word is not proof: behind a gateway that answers 504 the reply may have arrived. The user cannot see it twice,
as the URL works once. But from then on a spent window no longer means that the reply was refused.
"""

from typing import Final, get_args

import msgspec

from maven_channel_wecom.contract.messages import Outcome
from maven_channel_wecom.errors import (
    AnswerLost,
    RefusedReason,
    ReplyReason,
    RequestNotSent,
    TransientReason,
)
from maven_channel_wecom.protocol import errcodes
from maven_channel_wecom.protocol.reply import read_answer

MAX_ATTEMPTS: Final = 3
"""Maximum attempts per reply, as in the original. Lower: a brief failure of WeCom loses replies. Higher: more load on
WeCom while it fails."""

ATTEMPT_SECONDS: Final = 15.0
"""Timeout of one attempt. WeCom answers in well under a second. Lower: slow proxies cause unknown outcomes, which are
not retried. Higher: a reply waits longer for a WeCom that hangs."""

_FIRST_BACKOFF_SECONDS: Final = 0.5
_BACKOFF_FACTOR: Final = 4.0

_TRANSIENT: Final[dict[int, TransientReason]] = {
    errcodes.SYSTEM_BUSY: "busy",
    errcodes.DATA_CONFLICT: "conflict",
    errcodes.CONCURRENCY_LIMIT: "concurrency",
}
_REFUSED: Final[dict[int, RefusedReason]] = {
    errcodes.INVALID_MESSAGE_TYPE: "invalid_type",
    errcodes.INVALID_CHARACTERS: "invalid_characters",
    errcodes.EMPTY_CONTENT: "empty",
    errcodes.CONTENT_TOO_LONG: "too_long",
    errcodes.RATE_LIMIT: "rate_limit",
    errcodes.RESPONSE_CODE_INVALID: "window_spent",
}
_MAY_HAVE_ARRIVED: Final = frozenset(get_args(TransientReason))
# Another attempt would fail in the same way.
_PERMANENT: Final = frozenset({"forbidden_address", "bad_url"})


class Verdict(msgspec.Struct, frozen=True):
    """The result of one attempt: `retry` is whether to try again, and `errcode` is WeCom's code, for the log."""

    outcome: Outcome
    reason: ReplyReason
    retry: bool = False
    errcode: int | None = None


EXPIRED: Final = Verdict("undeliverable", "no_reply_window")
"""The verdict if the reply window expired before the first attempt."""

CANCELLED: Final = Verdict("unknown", "cancelled")
"""The verdict if the caller is cancelled after a request may have left."""

_UNREADABLE: Final = Verdict("unknown", "unreadable_answer")
_HTTP_VERDICTS: Final = {
    3: Verdict("refused", "http_3xx"),
    4: Verdict("refused", "http_4xx"),
    5: Verdict("undeliverable", "http_5xx", retry=True),
}


def judge_answer(status: int, body: bytes) -> Verdict:
    """Return the verdict on an HTTP answer, from its status and then from the `errcode` in its body."""
    if not 200 <= status < 300:  # noqa: PLR2004 - the classes of RFC 9110
        return _HTTP_VERDICTS.get(status // 100, _UNREADABLE)
    answer = read_answer(body)
    if answer is None:
        return _UNREADABLE
    if answer.errcode == errcodes.OK:
        return Verdict("delivered", "ok")
    if reason := _TRANSIENT.get(answer.errcode):
        return Verdict("undeliverable", reason, retry=True, errcode=answer.errcode)
    return Verdict("refused", _REFUSED.get(answer.errcode, "errcode"), errcode=answer.errcode)


def judge_failure(failure: RequestNotSent | AnswerLost) -> Verdict:
    """Return the verdict on an attempt without an answer."""
    if isinstance(failure, AnswerLost):
        return Verdict("unknown", failure.reason)
    return Verdict("undeliverable", failure.reason, retry=failure.reason not in _PERMANENT)


def meaning(errcode: int) -> str:
    """Return the meaning of an errcode in words, for the log."""
    return errcodes.MEANINGS.get(errcode, "unknown errcode; see page 90313 of WeCom's documentation")


def may_have_arrived(verdict: Verdict) -> bool:
    """Return whether a reply may have arrived although it is retried: something answered, be it with an error."""
    return verdict.reason in _MAY_HAVE_ARRIVED


def judge_repeat(verdict: Verdict, *, repeated: bool) -> Verdict:
    """Return the final verdict on an attempt; `repeated`: an earlier attempt through its window may have arrived.

    If WeCom then reports the window as spent, that attempt has probably arrived, so the outcome is unknown.
    """
    if repeated and verdict.reason == "window_spent":
        return Verdict("unknown", "repeated", errcode=verdict.errcode)
    return verdict


def next_delay(attempts: int, *, fraction: float, seconds_left: float) -> float | None:
    """Return the delay in seconds before the next attempt, or None if there is none.

    Exponential backoff with full jitter: a random `fraction` from 0 to 1 of 0.5 s after the first attempt, and of 2 s
    after the second. No attempt starts after the window has expired.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    delay = fraction * _FIRST_BACKOFF_SECONDS * _BACKOFF_FACTOR ** (attempts - 1)
    return delay if delay < seconds_left else None
