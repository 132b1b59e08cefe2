"""Reads the JSON of an agent's answers and errors, which may be hostile. No I/O."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError

MAX_ANSWER_CHARACTERS: Final = 1_000_000
"""Maximum length of an answer, far beyond what any chat shows. It bounds the memory for an agent that never stops."""

MAX_VALUES: Final = 50_000
"""Maximum number of values in one JSON text. Higher: decoding a hostile one blocks the event loop for longer, 7 ms for
50,000 values."""

CONTEXT_LENGTH_EXCEEDED: Final = "context_length_exceeded"
"""The code of an error because the model cannot read as much. It is OpenAI's, and used for those of other servers."""

_CONTEXT_CODE = re.compile(r"context_(length|size|window)", re.IGNORECASE)
_CONTEXT_WORDS = re.compile(
    rb"context[ _-](length|size|window)|max_tokens|token limit|input length"
    rb"|(prompt|input|messages?|conversation|context|request)\W{0,2} (is|are) too (long|large)"
    rb"|(maximum|max|input|total|too many)( \w+){0,3} tokens",
    re.IGNORECASE,
)

END_OF_STREAM: Final = b"[DONE]"

# Only codes of this form are logged: other text in an error may repeat the key or the user's words.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

_ERROR_TEXTS: Final = ("code", "type", "param", "message", "detail", "error")

# The name in quotes, as servers write it in sentences. As the name of a field it is part of some reports of any error.
_REQUIRED = re.compile(rb"[`'\"](messages|input)\\?[`'\"](?!\s*:)")
_MISSING = re.compile(rb"missing|required", re.IGNORECASE)

# JSON escapes of half a character without the other half, which msgspec refuses.
_HALF_CHARACTER = re.compile(
    rb"\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}", re.IGNORECASE
)

# Replacing half characters in this much text blocks the event loop for 7 ms.
_MAX_REPAIRED_BYTES: Final = 256 * 1024


def decode(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value. Raises AgentError for what is no JSON, or has too many values."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise AgentError(agent_failures.TOO_LARGE)
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        if len(data) > _MAX_REPAIRED_BYTES:
            raise AgentError(agent_failures.MALFORMED) from None
    try:
        return msgspec.json.decode(_HALF_CHARACTER.sub(rb"\\ufffd", data).decode("utf-8", "replace"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # The cause would carry text of the agent.
        raise AgentError(agent_failures.MALFORMED) from None


def decode_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises AgentError for anything else."""
    value = decode(data)
    if not isinstance(value, dict):
        raise AgentError(agent_failures.MALFORMED)
    return value


def error_code(body: bytes) -> str:
    """Return the code in the body of an error, or an empty string."""
    fields = _error_fields(body)
    return log_code(fields.get("error")) or log_code(fields.get("code"))


def error_texts(body: bytes) -> list[str]:
    """Return code, type and sentences in the body of an error; nothing of what is no JSON, such as a page."""
    fields = _error_fields(body)
    members = (each.get(name) for each in (fields, mapping(fields.get("error"))) for name in _ERROR_TEXTS)
    return [text for text in members if isinstance(text, str)]


def _error_fields(body: bytes) -> dict[str, Any]:
    try:
        return mapping(decode(body))
    except AgentError:
        return {}


def names_context_length(body: bytes) -> bool:
    """Return whether the body of an error says that the model cannot read as much."""
    return bool(_CONTEXT_WORDS.search(body))


def required_parameter(body: bytes) -> str:
    """Return which of `messages` and `input` the body of an error names as missing, or an empty string.

    The Chat Completions API requires the former, the Responses API the latter.
    """
    found = _MISSING.search(body) and _REQUIRED.search(body)
    return found[1].decode() if found else ""


def log_code(error: object) -> str:
    """Return the first of an error's code, reason and type that may be logged; an error may also be one word.

    It is CONTEXT_LENGTH_EXCEEDED if one of them is a word for that.
    """
    fields = error if isinstance(error, dict) else {"code": error}
    candidates = (fields.get(name) for name in ("code", "reason", "type"))
    codes = [str(each) for each in candidates if isinstance(each, str | int) and _CODE.fullmatch(str(each))]
    if any(map(_CONTEXT_CODE.search, codes)):
        return CONTEXT_LENGTH_EXCEEDED
    return codes[0] if codes else ""


def check_error(fields: dict[str, Any]) -> None:
    """Raise AgentError for an object that reports an error instead of anything else."""
    if error := fields.get("error"):
        raise AgentError(agent_failures.FAILED, code=log_code(error))


def is_responses(fields: dict[str, Any]) -> bool:
    """Return whether an object is an answer of the Responses API, or an event of one."""
    return isinstance(fields.get("output"), list) or string(fields.get("type")).startswith("response.")


def is_chat(fields: dict[str, Any]) -> bool:
    """Return whether an object is an answer of the Chat Completions API, or a chunk of one."""
    return isinstance(fields.get("choices"), list)


def mapping(value: object) -> dict[str, Any]:
    """Return an object, an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return a list, an empty one for any other value."""
    return value if isinstance(value, list) else []


def string(value: object) -> str:
    """Return a string, an empty one for any other value."""
    return value if isinstance(value, str) else ""


def position(value: object) -> int:
    """Return an integer, 0 for any other value."""
    return value if isinstance(value, int) else 0


def longer(streamed: str, whole: str) -> str:
    """Return the longer of an answer's text as it was streamed and as it was repeated at its end."""
    return whole if len(whole) >= len(streamed) else streamed
