"""All failures of an agent behind HTTP, with the word for the log and the sentence for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maven_channel_wecom import sentences
from maven_channel_wecom.host.agents.agent import Failure

if TYPE_CHECKING:
    from maven_channel_wecom.transport.proxy_failures import ProxyFailure

CONNECT: Final = Failure("connect", sentences.AGENT_UNREACHABLE)
CONNECT_TIMEOUT: Final = Failure("connect_timeout", sentences.AGENT_UNRESPONSIVE)
REFUSED: Final = Failure("refused", sentences.AGENT_NOT_RUNNING)
DNS: Final = Failure("dns", sentences.AGENT_HOST_UNKNOWN)
TLS: Final = Failure("tls", sentences.AGENT_INSECURE)
IDLE: Final = Failure("idle", sentences.AGENT_TOO_SLOW)
TIMEOUT: Final = Failure("timeout", sentences.AGENT_TOO_SLOW)
CONNECTION_LOST: Final = Failure("connection_lost", sentences.AGENT_CONNECTION_LOST)
BROKEN_OFF: Final = Failure("broken_off", sentences.AGENT_CONNECTION_LOST)
"""The stream ended cleanly, but before the agent reported its answer as complete."""

FAILED: Final = Failure("failed", sentences.AGENT_FAILED)
INCOMPLETE: Final = Failure("incomplete", sentences.AGENT_STOPPED_EARLY)
MALFORMED: Final = Failure("malformed", sentences.AGENT_FAILED)
OTHER_API: Final = Failure("other_api", sentences.AGENT_FORMAT_WRONG)
"""The address has another API, whose type is the code of the error."""

CONTEXT_LENGTH: Final = Failure("context_length", sentences.CONVERSATION_TOO_LONG)
"""The model cannot read as much as it is asked."""

COMPRESSED: Final = Failure("compressed", sentences.AGENT_FAILED)
"""The answer is compressed although the request forbids it. A small one could unpack to gigabytes."""

TOO_LARGE: Final = Failure("too_large", sentences.ANSWER_TOO_LARGE)

ATTACHMENT_STATUSES: Final = frozenset({400, 413, 415, 422})
"""The HTTP statuses with which an agent may refuse a picture or a file."""

HISTORY_STATUSES: Final = frozenset({400, 413, 422})
"""The HTTP statuses with which an agent may refuse a message because of what precedes it."""

_STATUS_SENTENCES: Final = {
    400: sentences.MESSAGE_NOT_PROCESSED,
    401: sentences.AGENT_KEY_REJECTED,
    403: sentences.AGENT_KEY_REJECTED,
    404: sentences.AGENT_NOT_FOUND,
    405: sentences.AGENT_NOT_FOUND,
    413: sentences.MESSAGE_TOO_LARGE,
    429: sentences.AGENT_BUSY,
}


def for_status(status: int) -> Failure:
    """Return the failure for an HTTP status other than success."""
    if 300 <= status < 400:  # noqa: PLR2004 -- the range of redirects in HTTP
        return Failure(f"http_{status}", sentences.AGENT_NOT_FOUND)
    return Failure(f"http_{status}", _STATUS_SENTENCES.get(status, sentences.AGENT_FAILED))


def may_concern_history(failure: Failure) -> bool:
    """Return whether an agent may answer the same message if less, or nothing, precedes it."""
    return failure.reason in {CONTEXT_LENGTH.reason, *(f"http_{status}" for status in HISTORY_STATUSES)}


def for_proxy(cause: ProxyFailure) -> Failure:
    """Return the failure for a proxy that cannot be used."""
    return Failure(f"proxy_{cause}", sentences.AGENT_UNREACHABLE)


def with_attachment(failure: Failure, kind: str) -> Failure:
    """Return the failure of a message whose attachment the agent refused. `kind` is `picture` or `file`."""
    is_picture = kind == "picture"
    return Failure(failure.reason, sentences.PICTURE_NOT_PROCESSED if is_picture else sentences.FILE_NOT_PROCESSED)
