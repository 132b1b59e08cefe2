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

No text here ever holds a token, a key, a URL or what a user wrote.
"""

from collections.abc import Sequence


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

    reason = "rejected"
    status = 400

    def __init__(self, message: str = "", *, reason: str | None = None, status: int | None = None) -> None:
        super().__init__(message, reason=reason)
        if status is not None:
            self.status = status


class MalformedCallback(CallbackRejected):
    """Not the shape of a callback: not JSON, a parameter or a field missing or misshapen."""

    reason = "malformed"


class SignatureMismatch(CallbackRejected):
    """The signature is not ours: somebody else, or another token."""

    reason = "signature"
    status = 401


class UndecipherableEnvelope(CallbackRejected):
    """The ciphertext does not open. One error for base64, length, padding, frame and text."""

    reason = "undecipherable"


class WrongReceiver(CallbackRejected):
    """The envelope opened, and was meant for another receiver than `receiveId`."""

    reason = "receiver"


class StaleCallback(CallbackRejected):
    """The timestamp is further away than `maxSkewSeconds`."""

    reason = "stale"
    status = 401


class MediaUnavailable(WeComError):
    """A media item could not be fetched, opened or recognized."""

    reason = "unavailable"


class RequestNotSent(WeComError):
    """No connection could be made; `reason` says which step failed. The request surely did not arrive."""

    reason = "connect"


class AnswerLost(WeComError):
    """The request left and no complete answer came back. It may have arrived."""

    reason = "timeout"


class StateUnavailable(WeComError):
    """The state cannot promise anything now; `reason` says why."""

    reason = "state"
