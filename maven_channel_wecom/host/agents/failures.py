"""Every way an agent behind HTTP can fail, with what the log and the user are told."""

from __future__ import annotations

from typing import Final

from maven_channel_wecom.host.agents.agent import Failure

_UNREACHABLE = "The agent cannot be reached right now; please try again later."
_TOO_SLOW = "The agent took too long to answer; please try again later."
_LOST = "The connection to the agent was lost; please try again later."
_FAILED = "The agent failed on this message; please try again later."
_KEY = "The agent does not accept this bot's key; please tell whoever runs the bot."

CONNECT: Final = Failure("connect", _UNREACHABLE)
CONNECT_TIMEOUT: Final = Failure("connect_timeout", _UNREACHABLE)
IDLE: Final = Failure("idle", _TOO_SLOW)
TIMEOUT: Final = Failure("timeout", _TOO_SLOW)
CONNECTION_LOST: Final = Failure("connection_lost", _LOST)
BROKEN_OFF: Final = Failure("broken_off", _LOST)
"""The stream ended in good order, but before the agent called its answer complete."""

FAILED: Final = Failure("failed", _FAILED)
INCOMPLETE: Final = Failure("incomplete", "The agent stopped before it was done.")
MALFORMED: Final = Failure("malformed", _FAILED)
TOO_LARGE: Final = Failure("too_large", "The agent's answer is too long to send.")

_SENTENCE_OF_STATUS: Final = {
    400: "The agent could not take this message.",
    401: _KEY,
    403: _KEY,
    404: "The agent is not where this bot expects it; please tell whoever runs the bot.",
    413: "This message is too large for the agent.",
    429: "The agent is busy; please try again in a moment.",
}


def of_status(status: int) -> Failure:
    """Return the failure that an HTTP status other than success stands for."""
    return Failure(f"http_{status}", _SENTENCE_OF_STATUS.get(status, _FAILED))
