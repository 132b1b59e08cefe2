"""All failures of an agent behind HTTP, with the word for the log and the sentence for the user."""

from __future__ import annotations

from typing import Final

from maven_channel_wecom.host.agents.agent import Failure

_UNREACHABLE = "The agent cannot be reached right now; please try again later."
_TOO_SLOW = "The agent took too long to answer; please try again later."
_CONNECTION_LOST = "The connection to the agent was lost; please try again later."
_FAILED = "The agent failed to answer this message; please try again later."
_KEY_REJECTED = "The agent does not accept this bot's key; please tell the operator of this bot."

CONNECT: Final = Failure("connect", _UNREACHABLE)
CONNECT_TIMEOUT: Final = Failure("connect_timeout", _UNREACHABLE)
IDLE: Final = Failure("idle", _TOO_SLOW)
TIMEOUT: Final = Failure("timeout", _TOO_SLOW)
CONNECTION_LOST: Final = Failure("connection_lost", _CONNECTION_LOST)
BROKEN_OFF: Final = Failure("broken_off", _CONNECTION_LOST)
"""The stream ended cleanly, but before the agent reported its answer as complete."""

FAILED: Final = Failure("failed", _FAILED)
INCOMPLETE: Final = Failure("incomplete", "The agent stopped before its answer was complete.")
MALFORMED: Final = Failure("malformed", _FAILED)
TOO_LARGE: Final = Failure("too_large", "The agent's answer is too long to send.")

_STATUS_SENTENCES: Final = {
    400: "The agent could not process this message.",
    401: _KEY_REJECTED,
    403: _KEY_REJECTED,
    404: "The agent was not found at the address this bot uses; please tell the operator of this bot.",
    413: "This message is too large for the agent.",
    429: "The agent is busy; please try again in a moment.",
}


def for_status(status: int) -> Failure:
    """Return the failure for an HTTP status other than success."""
    return Failure(f"http_{status}", _STATUS_SENTENCES.get(status, _FAILED))
