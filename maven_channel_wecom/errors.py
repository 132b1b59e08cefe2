"""What can go wrong, split by who is at fault.

WeComError
├── ConfigError                 the operator: every wrong key at once
├── CallbackRejected            the caller of the callback port; carries the HTTP status
│   ├── MalformedCallback       not JSON, a parameter or field missing or misshapen
│   ├── SignatureMismatch
│   ├── UndecipherableEnvelope  base64, length, padding, frame, text: one error for all
│   ├── WrongReceiver
│   └── StaleCallback
├── MediaUnavailable            WeCom's storage, or what lies there; becomes an `unavailable` block
├── RequestNotSent              the way out was never open: nothing left this machine
├── AnswerLost                  a request left and no answer came back
└── StateUnavailable            our own state; answered 503
    └── StateClosed             it was closed on purpose: waiting for it is in vain

No text here ever holds a token, a key, a URL or what a user wrote.

Before the errors stand all reasons: every closed set of short words that an error, a metric label or a log field takes.
"""

from collections.abc import Sequence
from typing import Literal

HttpRejection = Literal[
    "not_http", "tls", "http2", "proxy_protocol", "head_too_large", "host", "path", "coded", "expectation", "pipelined"
]
"""Why a request on the callback port never became a callback, decided by its head or by the lack of one."""

BodyRejection = Literal["too_large", "slow", "aborted", "crowded", "method"]
"""Why the body of a request to the callback path was not received in full."""

Rejection = Literal[
    "malformed",
    "xml",
    "too_large",
    "slow",
    "aborted",
    "method",
    "signature",
    "undecipherable",
    "receiver",
    "stale",
    "crowded",
]
"""Why a request to the callback path is no callback of ours: the `reason` of a CallbackRejected, or a BodyRejection."""

Unavailability = Literal["inbox_full", "draining", "state", "state_full", "error"]
"""Why a callback is answered 503, so that WeCom may try again."""

Refusal = Literal["no_sender", "no_group", "bot", "group", "sender"]
"""Why a genuine callback is acknowledged and not worked on."""

DropReason = Literal["limit", "slow"]
"""Why we closed a connection: there were too many, or it took too long."""

StateFailure = Literal["state", "state_full"]
"""The `reason` of a StateUnavailable."""

NotSentReason = Literal["connect", "connect_timeout", "dns", "tls", "proxy", "forbidden_address", "bad_url"]
"""The `reason` of a RequestNotSent."""

LostReason = Literal["timeout", "reset"]
"""The `reason` of an AnswerLost."""

DownloadFailure = Literal["forbidden_address", "connect", "timeout", "reset", "http_status", "too_large", "bad_url"]
"""Why a media item could not be downloaded."""

MediaFailure = Literal[
    "unsupported", "no_url", "expired", "no_room", "error", "not_an_image", "undecipherable", DownloadFailure
]
"""The `reason` of a MediaUnavailable, and of an `unavailable` content block."""

TransientReason = Literal["busy", "conflict", "concurrency", "http_5xx"]
"""Answers of WeCom after which the reply surely was not sent, and another attempt makes sense."""

RetryReason = Literal[TransientReason, "connect", "connect_timeout", "dns", "tls", "proxy"]
"""Why an attempt to deliver a reply is repeated."""

UndeliverableReason = Literal["empty", "no_reply_window", "state", TransientReason, NotSentReason]
"""Why a reply surely was not sent."""

RefusedReason = Literal[
    "invalid_type",
    "invalid_characters",
    "empty",
    "too_long",
    "rate_limit",
    "window_spent",
    "errcode",
    "http_3xx",
    "http_4xx",
]
"""Why WeCom said no to a reply."""

UnknownReason = Literal[LostReason, "unreadable_answer", "repeated"]
"""Why nobody can know whether a reply arrived."""

ReplyReason = Literal["ok", UndeliverableReason, RefusedReason, UnknownReason]
"""Why a reply ended as it did; `ok` when it was delivered."""


class WeComError(Exception):
    """Base of every error of this channel. `reason` is a fixed short word, used as metric label and in logs."""

    reason: str = "error"

    def __init__(self, message: str = "", *, reason: str | None = None) -> None:
        if reason is not None:
            self.reason = reason
        super().__init__(message or self.reason)


class ConfigError(WeComError):
    """The configuration of a channel is wrong; `problems` names every wrong key, one sentence each."""

    reason = "config"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class CallbackRejected(WeComError):
    """A callback is answered with `status` and leaves no trace but a count."""

    reason: Rejection
    status = 400

    def __init__(self, message: str = "", *, reason: Rejection | None = None, status: int | None = None) -> None:
        super().__init__(message, reason=reason)
        if status is not None:
            self.status = status


class MalformedCallback(CallbackRejected):
    """Not the shape of a callback: not JSON, a parameter or a field missing or misshapen."""

    reason: Rejection = "malformed"


class SignatureMismatch(CallbackRejected):
    """The signature is not ours: somebody else, or another token."""

    reason: Rejection = "signature"
    status = 401


class UndecipherableEnvelope(CallbackRejected):
    """The ciphertext does not open. One error for base64, length, padding, frame and text."""

    reason: Rejection = "undecipherable"


class WrongReceiver(CallbackRejected):
    """The envelope opened, and was meant for another receiver than `receiveId`."""

    reason: Rejection = "receiver"


class StaleCallback(CallbackRejected):
    """The timestamp is further away than `maxSkewSeconds`."""

    reason: Rejection = "stale"
    status = 401


class MediaUnavailable(WeComError):
    """A media item could not be fetched, opened or recognized."""

    reason: MediaFailure


class RequestNotSent(WeComError):
    """No connection could be made; `reason` says which step failed. The request surely did not arrive."""

    reason: NotSentReason = "connect"


class AnswerLost(WeComError):
    """The request left and no complete answer came back. It may have arrived."""

    reason: LostReason = "timeout"


class StateUnavailable(WeComError):
    """The state cannot promise anything now; `reason` says why."""

    reason: StateFailure = "state"


class StateClosed(StateUnavailable):
    """The state was closed, as its channel stopped: nothing will make it available again."""
