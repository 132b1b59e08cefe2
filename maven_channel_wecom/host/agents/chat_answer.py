"""Turns an answer of the Chat Completions API, as events or as one JSON object, into text. No I/O.

Only the first choice counts: a request asks for one. What a model thinks comes in fields of its own
(`reasoning_content`, `reasoning`), which are not read.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError, Answer
from maven_channel_wecom.host.agents.answer_json import (
    END_OF_STREAM,
    MAX_ANSWER_CHARACTERS,
    check_error,
    decode,
    decode_object,
    is_chat,
    is_responses,
    items,
    log_code,
    longer,
    mapping,
    position,
    string,
)

if TYPE_CHECKING:
    from maven_channel_wecom.host.agents.server_sent_events import ServerSentEvent

_INCOMPLETE: Final = frozenset(
    {
        "length", "content_filter",
        # Words of other servers for the same.
        "max_tokens", "model_length", "sensitive", "insufficient_system_resource",
    }
)  # fmt: skip
"""The values of `finish_reason` of an answer that is not complete."""

_FAILED: Final = frozenset({"error", "network_error"})


class ChatStream:
    """An answer that arrives as events. `done` is set once the agent reports the end of the stream."""

    def __init__(self) -> None:
        self.done = False
        self._finished = False
        self._streamed = StringIO()
        self._whole = ""

    @property
    def complete(self) -> bool:
        """Whether the answer is complete. Not every server reports the end of the stream after that."""
        return self.done or self._finished

    @property
    def text(self) -> str:
        """The text received so far."""
        return longer(self._streamed.getvalue(), self._whole)

    @property
    def answer(self) -> Answer:
        """The answer, once it is complete."""
        return Answer(self.text)

    def feed(self, event: ServerSentEvent) -> None:
        """Process one event. Events that do not concern the text are ignored. Raises AgentError."""
        data = event.data.strip()
        if data == END_OF_STREAM:
            self.done = True
        elif event.oversized and not event.named:
            raise AgentError(agent_failures.TOO_LARGE)
        elif data.startswith(b"{"):
            self._add(mapping(decode(data)), is_error=event.name == "error")

    def _add(self, fields: dict[str, Any], *, is_error: bool) -> None:
        if is_error:
            raise AgentError(agent_failures.FAILED, code=log_code(fields.get("error")) or log_code(fields))
        _check_api(fields)
        for choice in map(mapping, items(fields.get("choices"))):
            if position(choice.get("index")) == 0:
                self._streamed.write(_text(choice.get("delta")))
                self._whole = longer(self._whole, _text(choice.get("message")))
                if max(self._streamed.tell(), len(self._whole)) > MAX_ANSWER_CHARACTERS:
                    raise AgentError(agent_failures.TOO_LARGE)
                _check_end(choice)
                self._finished = self._finished or bool(choice.get("finish_reason"))


def plain_chat_answer(body: bytes) -> Answer:
    """Return an answer that is one JSON object. Raises AgentError."""
    fields = decode_object(body)
    _check_api(fields)
    choices = items(fields.get("choices"))
    if not is_chat(fields) or not choices:
        raise AgentError(agent_failures.MALFORMED)
    choice = mapping(choices[0])
    text = _text(choice.get("message"))
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise AgentError(agent_failures.TOO_LARGE)
    _check_end(choice, text)
    return Answer(text)


def _check_api(fields: dict[str, Any]) -> None:
    """Raise AgentError for an error, and for an answer of the Responses API."""
    check_error(fields)
    if is_responses(fields):
        raise AgentError(agent_failures.OTHER_API, code="responses")


def _check_end(choice: dict[str, Any], text: str = "") -> None:
    """Raise AgentError for a choice that ended before it was complete. `text` is what there is of it."""
    reason = string(choice.get("finish_reason"))
    error = choice.get("error")
    if error or reason in _FAILED:
        raise AgentError(agent_failures.FAILED, code=log_code(error) or log_code(reason), partial=text)
    if reason in _INCOMPLETE:
        raise AgentError(agent_failures.INCOMPLETE, code=reason, partial=text)


def _text(message: object) -> str:
    """Return the text of a message or of a delta. Its content may be a list of parts, of which only text counts."""
    fields = mapping(message)
    content = fields.get("content")
    parts = (mapping(part) for part in items(content))
    listed = "".join(string(part.get("text")) for part in parts if part.get("type") in {"text", "output_text", None})
    return string(content) or listed or string(fields.get("refusal"))
