"""Turns an answer of the Responses API, as events or as one JSON object, into text. No I/O.

Servers differ in where they put the text and in what else they send. The text is found in each place that the API has
for it, and a value of an unexpected type counts as absent.
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
    items,
    log_code,
    longer,
    mapping,
    position,
    string,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maven_channel_wecom.host.agents.agent import Failure
    from maven_channel_wecom.host.agents.server_sent_events import ServerSentEvent

MAX_PARTS: Final = 500
"""Maximum number of parts with text in one answer. Higher: an event can take longer, because the lengths of all parts
are compared with that of a repeated text."""

MAX_ID_CHARACTERS: Final = 512
"""Maximum length of a response's id. A longer one is not remembered."""

_DELTAS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_PARTS: Final = frozenset({"response.output_text.done", "response.refusal.done", "response.content_part.done"})
_ITEM: Final = "response.output_item.done"
_ENDS: Final = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
_ERROR: Final = "error"
_KNOWN_EVENTS: Final = _DELTAS | _PARTS | {_ITEM, _ERROR} | _ENDS.keys()


class ResponsesStream:
    """An answer that arrives as events.

    `done` is set once the agent reports the answer as complete. `response_id` is the id of the response, if known.
    """

    def __init__(self) -> None:
        self.done = False
        self.response_id = ""
        # The texts by the positions of the item in the output and of the part in the item. None is empty.
        self._items: dict[int, dict[int, StringIO]] = {}
        self._positions: set[tuple[int, int]] = set()
        self._characters = 0
        self._final = ""

    @property
    def complete(self) -> bool:
        """Whether the answer is complete."""
        return self.done

    @property
    def answer(self) -> Answer:
        """The answer, once it is complete."""
        return Answer(self.text, self.response_id)

    @property
    def text(self) -> str:
        """The text received so far."""
        return longer(_paragraphs(map(_joined, self._items.values())), self._final)

    def feed(self, event: ServerSentEvent) -> None:
        """Process one event. Events that do not concern the text are ignored. Raises AgentError."""
        fields: dict[str, Any] = {}
        failure = agent_failures.TOO_LARGE if event.oversized else None
        if not event.oversized and event.data.strip() not in {b"", END_OF_STREAM}:
            try:
                fields = mapping(decode(event.data))
            except AgentError as error:
                failure = error.failure
        kind = string(fields.get("type")) or event.name
        self.response_id = _response_id(mapping(fields.get("response"))) or self.response_id
        if kind in _ENDS:
            self._end(fields, _ENDS[kind], failure)
        elif failure is not None and (kind in _KNOWN_EVENTS or (event.oversized and not event.named)):
            raise AgentError(failure)
        elif kind in _KNOWN_EVENTS:
            self._add(kind, fields)
        else:
            _check_api(fields)

    def _has_item(self, text: str) -> bool:
        """Return whether an item has this text. Only items of its length are read, so a short one costs little."""
        return any(_length(parts) == len(text) and _joined(parts) == text for parts in self._items.values())

    def _end(self, fields: dict[str, Any], status: str, failure: Failure | None) -> None:
        response = mapping(fields.get("response"))
        self._final = _text(response)
        if failure is not None and status == "completed" and not self.text:
            raise AgentError(failure)
        _check_status(response, status, self.text)
        self.done = True

    def _add(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == _ERROR:
            raise AgentError(agent_failures.FAILED, code=log_code(fields.get("code")) or log_code(fields.get("error")))
        item, part = position(fields.get("output_index")), position(fields.get("content_index"))
        parts = self._items.get(item, {})
        if kind in _DELTAS:
            text = string(fields.get("delta"))
            if not text:
                return
        elif kind == _ITEM:
            # The API repeats a text in several events. A longer one replaces what came before it. Servers that give
            # only some events their positions repeat a text at another position.
            text = _item_text(fields.get("item"))
            if len(text) <= _length(parts) or self._has_item(text):
                return
            parts.clear()
        else:
            text = _part_text(fields.get("part")) or string(fields.get("text")) or string(fields.get("refusal"))
            if len(text) <= (parts[part].tell() if part in parts else 0) or self._has_item(text):
                return
            parts[part] = StringIO()
        parts.setdefault(part, StringIO()).write(text)
        self._items[item] = parts
        self._positions.add((item, part))
        self._characters += len(text)
        if self._characters > MAX_ANSWER_CHARACTERS or len(self._positions) > MAX_PARTS:
            raise AgentError(agent_failures.TOO_LARGE)


def plain_responses_answer(body: bytes) -> Answer:
    """Return the answer in one JSON object. Raises AgentError."""
    response = decode_object(body)
    text = _text(response)
    _check_status(response, string(response.get("status")), text)
    if not response.keys() & {"output", "output_text"}:
        _check_api(response)
        raise AgentError(agent_failures.MALFORMED)
    return Answer(text, _response_id(response))


def _check_status(response: dict[str, Any], status: str, text: str) -> None:
    """Raise AgentError unless an answer with this status is complete. `text` is what there is of it."""
    error = response.get("error")
    statuses = {status, string(response.get("status"))}
    if error or "failed" in statuses:
        raise AgentError(agent_failures.FAILED, code=log_code(error), partial=text)
    if "incomplete" in statuses:
        code = log_code(response.get("incomplete_details"))
        raise AgentError(agent_failures.INCOMPLETE, code=code, partial=text)
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise AgentError(agent_failures.TOO_LARGE)


def _check_api(fields: dict[str, Any]) -> None:
    """Raise AgentError for an error without a type, and for an answer of the Chat Completions API."""
    check_error(fields)
    if is_chat(fields):
        raise AgentError(agent_failures.OTHER_API, code="chat-completions")


def _response_id(response: dict[str, Any]) -> str:
    identifier = string(response.get("id"))
    return identifier if len(identifier) <= MAX_ID_CHARACTERS else ""


def _text(response: dict[str, Any]) -> str:
    texts = [_item_text(item) for item in items(response.get("output"))]
    return _paragraphs(texts) or string(response.get("output_text"))


def _item_text(item: object) -> str:
    """Return the text of an item of the output: of a message, but not of a reasoning or of a call of a tool."""
    fields = mapping(item)
    if fields.get("type", "message") not in {"message", None}:
        return ""
    content = fields.get("content")
    return string(content) or "".join(_part_text(part) for part in items(content))


def _part_text(part: object) -> str:
    fields = mapping(part)
    if fields.get("type") not in {"output_text", "refusal", "text", None}:
        return ""
    return string(fields.get("text")) or string(fields.get("refusal"))


def _paragraphs(texts: Iterable[str]) -> str:
    """Return the texts of several messages of one answer, such as those before and after the use of a tool."""
    return "\n\n".join(filter(None, texts))


def _length(parts: dict[int, StringIO]) -> int:
    """Return the number of characters of an item. They are not joined: the position in each part is at its end."""
    return sum(part.tell() for part in parts.values())


def _joined(parts: dict[int, StringIO]) -> str:
    return "".join(part.getvalue() for part in parts.values())
