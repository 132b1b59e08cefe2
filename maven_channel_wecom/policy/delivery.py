"""What an attempt to deliver a reply means, and whether and when there is another.

A `response_url` works once. So a POST is repeated only where the reply surely did not arrive: a repeat after a lost
answer shows the user the same text twice, or burns the URL.
"""

from typing import Final

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
"""As in the original. More: a broken WeCom is hammered; fewer: its ordinary hiccups reach the user."""

ATTEMPT_SECONDS: Final = 15.0
"""WeCom answers in well under a second. Lower: slow proxies turn into unknown outcomes, which are not repeated."""

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
# Another attempt would fail in the same way.
_HOPELESS: Final = frozenset({"forbidden_address", "bad_url"})


class Verdict(msgspec.Struct, frozen=True):
    """What one attempt came to. `errcode` is WeCom's, for the log; `retry` whether another attempt makes sense."""

    outcome: Outcome
    reason: ReplyReason
    retry: bool = False
    errcode: int | None = None


EXPIRED: Final = Verdict("undeliverable", "no_reply_window")
"""The window closed before an attempt could be made."""

_UNREADABLE: Final = Verdict("unknown", "unreadable_answer")
_HTTP_VERDICTS: Final = {
    3: Verdict("refused", "http_3xx"),
    4: Verdict("refused", "http_4xx"),
    5: Verdict("undeliverable", "http_5xx", retry=True),
}


def judge_answer(status: int, body: bytes) -> Verdict:
    """Judge an HTTP answer: first its status, then the `errcode` in its body."""
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
    """Judge an attempt that got no answer."""
    if isinstance(failure, AnswerLost):
        return Verdict("unknown", failure.reason)
    return Verdict("undeliverable", failure.reason, retry=failure.reason not in _HOPELESS)


def meaning(errcode: int) -> str:
    """Return what WeCom means by an errcode, for a log line."""
    return errcodes.MEANINGS.get(errcode, "not in our table: see 90313")


def judge_repeat(verdict: Verdict, *, repeated: bool) -> Verdict:
    """Judge an attempt once more, for a window through which a process was answering when it died.

    That WeCom calls the window spent then means that the first reply arrived, as far as anybody can know.
    """
    if repeated and verdict.reason == "window_spent":
        return Verdict("unknown", "repeated", errcode=verdict.errcode)
    return verdict


def next_delay(attempts: int, *, fraction: float, seconds_left: float) -> float | None:
    """Return the seconds to wait before another attempt, None when there is none.

    Exponential backoff with full jitter: `fraction`, random from 0 to 1, of 0.5 s after the first attempt, of 2 s after
    the second. There is no attempt that would begin after the window's end.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    delay = fraction * _FIRST_BACKOFF_SECONDS * _BACKOFF_FACTOR ** (attempts - 1)
    return delay if delay < seconds_left else None
