"""All failures of an agent behind HTTP, with the word for the log and the sentence for the user."""

from __future__ import annotations

from typing import Final

from maven_channel_wecom.host.agents.agent import Failure

_TOO_SLOW = "The agent took too long to answer; please try again later."
_CONNECTION_LOST = "The connection to the agent was lost; please try again later."
_FAILED = "The agent failed to answer this message; please try again later."
_KEY_REJECTED = "The agent does not accept this bot's key; please tell the operator of this bot."
_NOT_FOUND = "The agent was not found at the address this bot uses; please tell the operator of this bot."

CONNECT: Final = Failure("connect", "The agent cannot be reached right now; please try again later.")
CONNECT_TIMEOUT: Final = Failure(
    "connect_timeout", "The agent does not respond to connections right now; please try again later."
)
REFUSED: Final = Failure("refused", "The agent is not running right now; please try again later.")
DNS: Final = Failure("dns", "The name of the agent's host is unknown right now; please tell the operator of this bot.")
TLS: Final = Failure("tls", "The connection to the agent is not secure; please tell the operator of this bot.")
IDLE: Final = Failure("idle", _TOO_SLOW)
TIMEOUT: Final = Failure("timeout", _TOO_SLOW)
CONNECTION_LOST: Final = Failure("connection_lost", _CONNECTION_LOST)
BROKEN_OFF: Final = Failure("broken_off", _CONNECTION_LOST)
"""The stream ended cleanly, but before the agent reported its answer as complete."""

FAILED: Final = Failure("failed", _FAILED)
INCOMPLETE: Final = Failure("incomplete", "The agent stopped before its answer was complete.")
MALFORMED: Final = Failure("malformed", _FAILED)
OTHER_API: Final = Failure("other_api", _NOT_FOUND)
"""The answer is one of the chat completions API."""

COMPRESSED: Final = Failure("compressed", _FAILED)
"""The answer is compressed although the request forbids it. A small one could unpack to gigabytes."""

TOO_LARGE: Final = Failure("too_large", "The agent's answer is too long to send.")

ATTACHMENT_STATUSES: Final = frozenset({400, 413, 415, 422})
"""The HTTP statuses with which an agent may refuse a picture or a file."""

_STATUS_SENTENCES: Final = {
    400: "The agent could not process this message.",
    401: _KEY_REJECTED,
    403: _KEY_REJECTED,
    404: _NOT_FOUND,
    405: _NOT_FOUND,
    413: "This message is too large for the agent.",
    429: "The agent is busy; please try again in a moment.",
}


def for_status(status: int) -> Failure:
    """Return the failure for an HTTP status other than success."""
    if 300 <= status < 400:  # noqa: PLR2004 -- the range of redirects in HTTP
        return Failure(f"http_{status}", _NOT_FOUND)
    return Failure(f"http_{status}", _STATUS_SENTENCES.get(status, _FAILED))


def with_attachment(failure: Failure, kind: str) -> Failure:
    """Return the failure of a message whose attachment the agent refused. `kind` is `picture` or `file`."""
    sentence = f"The agent could not process this message, neither with the {kind} nor without it."
    return Failure(failure.reason, sentence)
