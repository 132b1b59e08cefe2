"""What the Responses API answers: its events and its JSON objects, turned into text. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from maven_channel_wecom.host.agents import failures
from maven_channel_wecom.host.agents.agent import AgentError

if TYPE_CHECKING:
    from maven_channel_wecom.host.agents.server_sent_events import ServerSentEvent

MAX_ANSWER_CHARACTERS: Final = 1_000_000
"""Far beyond what any chat shows; what it bounds is the memory an agent that never stops can take."""

_END_OF_STREAM: Final = "[DONE]"

# Messages of an API may repeat the key or the user's words; its codes are words.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


_Shape = TypeVar("_Shape")


class _OutputPart(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_OutputPart] | str | None = None


class _Fault(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None
    reason: str | None = None

    @property
    def word(self) -> str:
        """The first of its words that is one."""
        words = (str(word) for word in (self.code, self.reason, self.type) if word is not None)
        return next((word for word in words if _CODE.fullmatch(word)), "")


class _Response(msgspec.Struct):
    status: str | None = None
    error: _Fault | str | None = None
    incomplete_details: _Fault | None = None
    output: list[_Item] = []
    output_text: str | None = None


class _StreamEvent(msgspec.Struct):
    type: str = ""


class _Delta(msgspec.Struct):
    delta: str
    output_index: int = 0


class _Closing(msgspec.Struct):
    response: _Response = msgspec.field(default_factory=_Response)


class _ErrorEvent(msgspec.Struct):
    code: str | int | None = None
    error: _Fault | str | None = None


class AnswerStream:
    """An answer that arrives as events. `done` says that the agent called it complete."""

    def __init__(self) -> None:
        self.done = False
        self._parts: list[str] = []
        self._characters = 0
        self._output_index: int | None = None

    @property
    def text(self) -> str:
        """What arrived so far."""
        return "".join(self._parts)

    def take(self, event: ServerSentEvent) -> None:
        """Take one event; those that are not about the text are passed over. Raises AgentError."""
        if event.data.strip() in {"", _END_OF_STREAM}:
            return
        kind = _decode(event.data, _StreamEvent).type or event.name
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self._extend(_decode(event.data, _Delta))
            case "response.completed":
                self.done = True
                if not self._parts:
                    self._parts = [_text(_decode(event.data, _Closing).response)]
            case "response.incomplete":
                details = _decode(event.data, _Closing).response.incomplete_details
                raise AgentError(failures.INCOMPLETE, code=details.word if details else "")
            case "response.failed":
                raise AgentError(failures.FAILED, code=_word(_decode(event.data, _Closing).response.error))
            case "error":
                fault = _decode(event.data, _ErrorEvent)
                raise AgentError(failures.FAILED, code=_Fault(fault.code).word or _word(fault.error))

    def _extend(self, delta: _Delta) -> None:
        if self._output_index not in {None, delta.output_index}:
            # Another message of the same answer, such as the one after a tool was used.
            self._parts.append("\n\n")
        self._output_index = delta.output_index
        self._parts.append(delta.delta)
        self._characters += len(delta.delta)
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise AgentError(failures.TOO_LARGE)


def plain_answer(body: bytes) -> str:
    """Return the text of an answer that came as one JSON object. Raises AgentError."""
    response = _decode(body, _Response)
    text = _text(response)
    if response.error is not None or response.status == "failed":
        raise AgentError(failures.FAILED, code=_word(response.error), partial=text)
    if response.status == "incomplete":
        code = response.incomplete_details.word if response.incomplete_details else ""
        raise AgentError(failures.INCOMPLETE, code=code, partial=text)
    if not response.output and response.output_text is None:
        raise AgentError(failures.MALFORMED)
    return text


def error_code(body: bytes) -> str:
    """Return the word an error answer gives for its cause, or nothing."""
    try:
        return _word(_decode(body, _Response).error)
    except AgentError:
        return ""


def _text(response: _Response) -> str:
    messages = [
        "".join(part.text or part.refusal or "" for part in item.content if part.type in {"output_text", "refusal"})
        for item in response.output
        if isinstance(item.content, list)
    ]
    return "\n\n".join(filter(None, messages)) or response.output_text or ""


def _word(fault: _Fault | str | None) -> str:
    match fault:
        case _Fault():
            return fault.word
        case str() if _CODE.fullmatch(fault):
            return fault
    return ""


def _decode(data: str | bytes, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Without this the text of the agent would hang on the error as its cause.
        raise AgentError(failures.MALFORMED) from None
