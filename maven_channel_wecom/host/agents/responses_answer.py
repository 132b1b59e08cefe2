"""Turns an answer of the Responses API, as events or as one JSON object, into text. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError

if TYPE_CHECKING:
    from maven_channel_wecom.host.agents.server_sent_events import ServerSentEvent

MAX_ANSWER_CHARACTERS: Final = 1_000_000
"""Maximum length of an answer, far beyond what any chat shows. It bounds the memory for an agent that never stops."""

_END_OF_STREAM: Final = "[DONE]"

# Only codes of this form are logged: other text in an error may repeat the key or the user's words.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


_Shape = TypeVar("_Shape")


class _OutputPart(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_OutputPart] | str | None = None


class _ErrorDetails(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None
    reason: str | None = None

    @property
    def log_code(self) -> str:
        """The first of code, reason and type that may be logged."""
        candidates = (str(each) for each in (self.code, self.reason, self.type) if each is not None)
        return next((each for each in candidates if _CODE.fullmatch(each)), "")


class _Response(msgspec.Struct):
    status: str | None = None
    error: _ErrorDetails | str | None = None
    incomplete_details: _ErrorDetails | None = None
    output: list[_Item] = []
    output_text: str | None = None


class _StreamEvent(msgspec.Struct):
    type: str = ""


class _Delta(msgspec.Struct):
    delta: str
    output_index: int = 0


class _EndEvent(msgspec.Struct):
    response: _Response = msgspec.field(default_factory=_Response)


class _ErrorEvent(msgspec.Struct):
    code: str | int | None = None
    error: _ErrorDetails | str | None = None


class AnswerStream:
    """An answer that arrives as events. `done` is set once the agent reports the answer as complete."""

    def __init__(self) -> None:
        self.done = False
        self._parts: list[str] = []
        self._characters = 0
        self._output_index: int | None = None

    @property
    def text(self) -> str:
        """The text received so far."""
        return "".join(self._parts)

    def feed(self, event: ServerSentEvent) -> None:
        """Process one event. Events that do not concern the text are ignored. Raises AgentError."""
        if event.data.strip() in {"", _END_OF_STREAM}:
            return
        kind = _decode(event.data, _StreamEvent).type or event.name
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self._extend(_decode(event.data, _Delta))
            case "response.completed":
                self.done = True
                if not self._parts:
                    self._parts = [_text(_decode(event.data, _EndEvent).response)]
            case "response.incomplete":
                details = _decode(event.data, _EndEvent).response.incomplete_details
                raise AgentError(agent_failures.INCOMPLETE, code=details.log_code if details else "")
            case "response.failed":
                raise AgentError(agent_failures.FAILED, code=_log_code(_decode(event.data, _EndEvent).response.error))
            case "error":
                error = _decode(event.data, _ErrorEvent)
                code = _ErrorDetails(error.code).log_code or _log_code(error.error)
                raise AgentError(agent_failures.FAILED, code=code)

    def _extend(self, delta: _Delta) -> None:
        if self._output_index not in {None, delta.output_index}:
            # The next message of the same answer, such as one after the use of a tool.
            self._parts.append("\n\n")
        self._output_index = delta.output_index
        self._parts.append(delta.delta)
        self._characters += len(delta.delta)
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise AgentError(agent_failures.TOO_LARGE)


def plain_answer(body: bytes) -> str:
    """Return the text of an answer that is one JSON object. Raises AgentError."""
    response = _decode(body, _Response)
    text = _text(response)
    if response.error is not None or response.status == "failed":
        raise AgentError(agent_failures.FAILED, code=_log_code(response.error), partial=text)
    if response.status == "incomplete":
        code = response.incomplete_details.log_code if response.incomplete_details else ""
        raise AgentError(agent_failures.INCOMPLETE, code=code, partial=text)
    if not response.output and response.output_text is None:
        raise AgentError(agent_failures.MALFORMED)
    return text


def error_code(body: bytes) -> str:
    """Return the code in the body of an error, or an empty string."""
    try:
        return _log_code(_decode(body, _Response).error)
    except AgentError:
        return ""


def _text(response: _Response) -> str:
    messages = [
        "".join(part.text or part.refusal or "" for part in item.content if part.type in {"output_text", "refusal"})
        for item in response.output
        if isinstance(item.content, list)
    ]
    return "\n\n".join(filter(None, messages)) or response.output_text or ""


def _log_code(details: _ErrorDetails | str | None) -> str:
    match details:
        case _ErrorDetails():
            return details.log_code
        case str() if _CODE.fullmatch(details):
            return details
    return ""


def _decode(data: str | bytes, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # The cause would carry text of the agent.
        raise AgentError(agent_failures.MALFORMED) from None
