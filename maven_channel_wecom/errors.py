"""The reasons and exceptions of this package. No exception's text contains a token, a key, a URL or what a user wrote.

First the reasons: each is a closed set of short words for an exception, a metric label or a log field. Then the
exceptions:

WeComError
├── ConfigError                 the configuration is wrong
├── CallbackRejected            a request is not a callback for this channel; has an HTTP status
│   ├── MalformedCallback       it is not JSON, or a parameter or field is missing or has the wrong form
│   ├── SignatureMismatch       its signature is wrong
│   ├── UndecipherableEnvelope  its ciphertext cannot be opened
│   ├── WrongReceiver           it is addressed to another receiver
│   └── StaleCallback           its timestamp is too far from our clock
├── MediaUnavailable            a media item cannot be fetched or opened; becomes an `unavailable` block
├── RequestNotSent              an outgoing request did not leave this machine
├── AnswerLost                  an outgoing request may have arrived, and its answer was lost
└── StateUnavailable            the state cannot complete an operation now; a callback is answered 503
    └── StateClosed             the state was closed, so a retry is useless
"""

from collections.abc import Sequence
from typing import Literal

HttpRejection = Literal[
    "not_http", "tls", "http2", "proxy_protocol", "head_too_large", "host", "path", "coded", "expectation", "pipelined"
]
"""Why a request on the callback port was rejected before its body was read: its head was invalid or not acceptable."""

BodyRejection = Literal["too_large", "slow", "aborted", "crowded", "method"]
"""Why the server rejected a request to the callback path itself."""

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
"""Why a request to the callback path is not a callback for this channel: the `reason` of a CallbackRejected, or a
BodyRejection."""

Unavailability = Literal["inbox_full", "chat_full", "draining", "state", "state_full", "error"]
"""Why a callback is answered 503, which asks WeCom to try again. `chat_full`: its chat uses its share of the inbox."""

Refusal = Literal["no_sender", "no_group", "bot", "group", "sender"]
"""Why a genuine callback is acknowledged and then ignored."""

DropReason = Literal["limit", "slow"]
"""Why the callback server closed a connection: there were too many, or it was too slow."""

StateFailure = Literal["state", "state_full"]
"""The `reason` of a StateUnavailable."""

NotSentReason = Literal["connect", "connect_timeout", "dns", "tls", "proxy", "forbidden_address", "bad_url"]
"""The `reason` of a RequestNotSent."""

LostReason = Literal["timeout", "reset"]
"""The `reason` of an AnswerLost."""

DownloadFailure = Literal["forbidden_address", "connect", "timeout", "reset", "http_status", "too_large", "bad_url"]
"""Why a media item could not be downloaded."""

MediaFailure = Literal[
    "unsupported",
    "no_url",
    "expired",
    "no_room",
    "too_many",
    "error",
    "not_an_image",
    "undecipherable",
    DownloadFailure,
]
"""The `reason` of a MediaUnavailable, and of an `unavailable` content block."""

TransientReason = Literal["busy", "conflict", "concurrency", "http_5xx"]
"""Errors in WeCom's answer that mean that a reply was not delivered and that another attempt is useful. A gateway may
report one although the reply arrived."""

RetryReason = Literal[TransientReason, "connect", "connect_timeout", "dns", "tls", "proxy"]
"""Why an attempt to deliver a reply is followed by another."""

UndeliverableReason = Literal["empty", "silent", "no_reply_window", "state", TransientReason, NotSentReason]
"""Why a reply was not delivered, as far as WeCom's answers tell. `silent`: the host wanted none. `empty` was published
when blank answers were not sent; today a sentence is sent in their place."""

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
"""Why WeCom refused a reply."""

UnknownReason = Literal[LostReason, "unreadable_answer", "cancelled", "repeated"]
"""Why it is unknown whether a reply arrived."""

ReplyReason = Literal["ok", UndeliverableReason, RefusedReason, UnknownReason]
"""The reason for the outcome of a reply; `ok` if it was delivered."""

StreamOutcome = Literal["fetched", "handed_over", "ended", "abandoned"]
"""How a stream ended. `fetched`: a refresh took the final text. `handed_over`: no refresh took it in time, so the
`response_url` takes the answer. `ended`: a refresh took the text so far and a sentence. `abandoned`: no refresh came to
take these."""

RefreshOutcome = Literal["answered", "unknown", "repeated"]
"""How a refresh was answered. `answered`: with the newest text. `unknown`: with a sentence, because this chat has no
open stream of this id. `repeated`: with the last frame, which an earlier refresh had taken."""

FeedbackKind = Literal["accurate", "inaccurate", "withdrawn"]
"""How a person rates an answer."""

FeedbackReason = Literal["off_topic", "incomplete", "wrong", "data_analysis", "other"]
"""Why a person rates an answer as inaccurate; `other` stands for reasons that WeCom may add."""

ExplanationReason = Literal["empty_message", "unknown_type", "empty_answer", "refused", "given_up"]
"""Why a person gets a sentence of the channel in place of an answer. `given_up`: the processing of the message failed
until its reply window ended."""


class WeComError(Exception):
    """Base of the exceptions in this module. `reason` is a fixed short word for metric labels and logs."""

    reason: str = "error"

    def __init__(self, message: str = "", *, reason: str | None = None) -> None:
        if reason is not None:
            self.reason = reason
        super().__init__(message or self.reason)


class ConfigError(WeComError):
    """The configuration of a channel is wrong. `problems` holds one sentence for each wrong key."""

    reason = "config"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class CallbackRejected(WeComError):
    """A request to the callback path is not a callback for this channel. It is counted and answered with `status`."""

    reason: Rejection
    status = 400

    def __init__(self, message: str = "", *, reason: Rejection | None = None, status: int | None = None) -> None:
        super().__init__(message, reason=reason)
        if status is not None:
            self.status = status


class MalformedCallback(CallbackRejected):
    """A callback is not JSON, or a parameter or field is missing or has the wrong form."""

    reason: Rejection = "malformed"


class SignatureMismatch(CallbackRejected):
    """A signature fits none of the configured tokens: it is forged, or made with another token."""

    reason: Rejection = "signature"
    status = 401


class UndecipherableEnvelope(CallbackRejected):
    """A ciphertext cannot be opened. Wrong base64, length, padding, frame and text encoding are not distinguished."""

    reason: Rejection = "undecipherable"


class WrongReceiver(CallbackRejected):
    """An envelope was opened and its receiver is not the configured `receiveId`."""

    reason: Rejection = "receiver"


class StaleCallback(CallbackRejected):
    """A timestamp differs from our clock by more than `maxSkewSeconds`."""

    reason: Rejection = "stale"
    status = 401


class MediaUnavailable(WeComError):
    """A media item could not be fetched, opened or recognized. `media_type` is its detected type, empty if unknown."""

    reason: MediaFailure

    def __init__(self, message: str = "", *, reason: MediaFailure, media_type: str = "") -> None:
        super().__init__(message, reason=reason)
        self.media_type = media_type


class RequestNotSent(WeComError):
    """No connection was made, so the request certainly did not arrive. `reason` says what failed."""

    reason: NotSentReason = "connect"


class AnswerLost(WeComError):
    """A request was sent and no complete answer was received. The request may have arrived."""

    reason: LostReason = "timeout"


class StateUnavailable(WeComError):
    """The state cannot complete an operation now; `reason` says why."""

    reason: StateFailure = "state"


class StateClosed(StateUnavailable):
    """The state was closed because its channel stopped, so it will not become available again."""
