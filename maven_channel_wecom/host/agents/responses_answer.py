"""Turns an answer of the Responses API, as events or as one JSON object, into text. No I/O.

Servers differ in where they put the text and in what else they send. The text is found in each place that the API has
for it, and a value of an unexpected type counts as absent.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import msgspec

from maven_channel_wecom.host.agents import agent_failures
from maven_channel_wecom.host.agents.agent import AgentError, Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maven_channel_wecom.host.agents.agent import Failure
    from maven_channel_wecom.host.agents.server_sent_events import ServerSentEvent

MAX_ANSWER_CHARACTERS: Final = 1_000_000
"""Maximum length of an answer, far beyond what any chat shows. It bounds the memory for an agent that never stops."""

MAX_VALUES: Final = 50_000
"""Maximum number of values in one JSON text. Higher: decoding a hostile one blocks the event loop for longer, 7 ms for
50,000 values."""

MAX_PARTS: Final = 500
"""Maximum number of parts with text in one answer. Higher: an event can take longer, because the lengths of all parts
are compared with that of a repeated text."""

MAX_ID_CHARACTERS: Final = 512
"""Maximum length of a response's id. A longer one is not remembered."""

PREVIOUS_RESPONSE_REFUSED: Final = "previous_response_not_found"
"""The code of an error because of `previous_response_id`. It is OpenAI's, and used for those of other servers too."""

_END_OF_STREAM: Final = b"[DONE]"

_DELTAS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_PARTS: Final = frozenset({"response.output_text.done", "response.refusal.done", "response.content_part.done"})
_ITEM: Final = "response.output_item.done"
_ENDS: Final = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
_ERROR: Final = "error"
_KNOWN_EVENTS: Final = _DELTAS | _PARTS | {_ITEM, _ERROR} | _ENDS.keys()

# Only codes of this form are logged: other text in an error may repeat the key or the user's words.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

# JSON escapes of half a character without the other half, which msgspec refuses.
_HALF_CHARACTER = re.compile(
    rb"\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}", re.IGNORECASE
)

# Replacing half characters in this much text blocks the event loop for 7 ms.
_MAX_REPAIRED_BYTES: Final = 256 * 1024


class AnswerStream:
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
    def text(self) -> str:
        """The text received so far."""
        return _longer(_paragraphs(map(_joined, self._items.values())), self._final)

    def feed(self, event: ServerSentEvent) -> None:
        """Process one event. Events that do not concern the text are ignored. Raises AgentError."""
        fields: dict[str, Any] = {}
        failure = agent_failures.TOO_LARGE if event.oversized else None
        if not event.oversized and event.data.strip() not in {b"", _END_OF_STREAM}:
            try:
                fields = _mapping(_decode(event.data))
            except AgentError as error:
                failure = error.failure
        kind = _string(fields.get("type")) or event.name
        self.response_id = _response_id(_mapping(fields.get("response"))) or self.response_id
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
        response = _mapping(fields.get("response"))
        self._final = _text(response)
        if failure is not None and status == "completed" and not self.text:
            raise AgentError(failure)
        _check_status(response, status, self.text)
        self.done = True

    def _add(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == _ERROR:
            raise AgentError(
                agent_failures.FAILED, code=_log_code(fields.get("code")) or _log_code(fields.get("error"))
            )
        item, part = _position(fields.get("output_index")), _position(fields.get("content_index"))
        parts = self._items.get(item, {})
        if kind in _DELTAS:
            text = _string(fields.get("delta"))
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
            text = _part_text(fields.get("part")) or _string(fields.get("text")) or _string(fields.get("refusal"))
            if len(text) <= (parts[part].tell() if part in parts else 0) or self._has_item(text):
                return
            parts[part] = StringIO()
        parts.setdefault(part, StringIO()).write(text)
        self._items[item] = parts
        self._positions.add((item, part))
        self._characters += len(text)
        if self._characters > MAX_ANSWER_CHARACTERS or len(self._positions) > MAX_PARTS:
            raise AgentError(agent_failures.TOO_LARGE)


def plain_answer(body: bytes) -> Answer:
    """Return the answer in one JSON object. Raises AgentError."""
    response = _decode(body)
    if not isinstance(response, dict):
        raise AgentError(agent_failures.MALFORMED)
    text = _text(response)
    _check_status(response, _string(response.get("status")), text)
    if not response.keys() & {"output", "output_text"}:
        _check_api(response)
        raise AgentError(agent_failures.MALFORMED)
    return Answer(text, _response_id(response))


def error_code(body: bytes, previous_response_id: str = "") -> str:
    """Return the code in the body of an error, or an empty string.

    It is PREVIOUS_RESPONSE_REFUSED if the body names the parameter `previous_response_id`, or the id that was sent.
    """
    if previous_response_id and (b"previous_response" in body or previous_response_id.encode() in body):
        return PREVIOUS_RESPONSE_REFUSED
    try:
        return _log_code(_mapping(_decode(body)).get("error"))
    except AgentError:
        return ""


def _check_status(response: dict[str, Any], status: str, text: str) -> None:
    """Raise AgentError unless an answer with this status is complete. `text` is what there is of it."""
    error = response.get("error")
    statuses = {status, _string(response.get("status"))}
    if error or "failed" in statuses:
        raise AgentError(agent_failures.FAILED, code=_log_code(error), partial=text)
    if "incomplete" in statuses:
        code = _log_code(response.get("incomplete_details"))
        raise AgentError(agent_failures.INCOMPLETE, code=code, partial=text)
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise AgentError(agent_failures.TOO_LARGE)


def _check_api(fields: dict[str, Any]) -> None:
    """Raise AgentError for an error without a type, and for an answer of the chat completions API."""
    if error := fields.get("error"):
        raise AgentError(agent_failures.FAILED, code=_log_code(error))
    if isinstance(fields.get("choices"), list):
        raise AgentError(agent_failures.OTHER_API)


def _response_id(response: dict[str, Any]) -> str:
    identifier = _string(response.get("id"))
    return identifier if len(identifier) <= MAX_ID_CHARACTERS else ""


def _text(response: dict[str, Any]) -> str:
    texts = [_item_text(item) for item in _items(response.get("output"))]
    return _paragraphs(texts) or _string(response.get("output_text"))


def _item_text(item: object) -> str:
    """Return the text of an item of the output: of a message, but not of a reasoning or of a call of a tool."""
    fields = _mapping(item)
    if fields.get("type", "message") not in {"message", None}:
        return ""
    content = fields.get("content")
    return _string(content) or "".join(_part_text(part) for part in _items(content))


def _part_text(part: object) -> str:
    fields = _mapping(part)
    if fields.get("type") not in {"output_text", "refusal", "text", None}:
        return ""
    return _string(fields.get("text")) or _string(fields.get("refusal"))


def _paragraphs(texts: Iterable[str]) -> str:
    """Return the texts of several messages of one answer, such as those before and after the use of a tool."""
    return "\n\n".join(filter(None, texts))


def _length(parts: dict[int, StringIO]) -> int:
    """Return the number of characters of an item. They are not joined: the position in each part is at its end."""
    return sum(part.tell() for part in parts.values())


def _joined(parts: dict[int, StringIO]) -> str:
    return "".join(part.getvalue() for part in parts.values())


def _longer(streamed: str, final: str) -> str:
    return final if len(final) >= len(streamed) else streamed


def _log_code(error: object) -> str:
    """Return the first of an error's code, reason and type that may be logged; an error may also be one word."""
    fields = error if isinstance(error, dict) else {"code": error}
    candidates = (fields.get(name) for name in ("code", "reason", "type"))
    return next((str(each) for each in candidates if isinstance(each, str | int) and _CODE.fullmatch(str(each))), "")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _position(value: object) -> int:
    return value if isinstance(value, int) else 0


def _decode(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
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
