"""Text out of the events and JSON objects of the Responses API, and the failures in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.responses_answer import AnswerStream, error_code, plain_answer
from maven_channel_wecom.host.agents.server_sent_events import EventParser
from tests.host.fake_responses import COMPLETED, delta, sse

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "canary-key-4711"


def stream_of(*events: Mapping[str, Any]) -> AnswerStream:
    return stream_of_bytes(sse(*events))


def stream_of_bytes(data: bytes) -> AnswerStream:
    stream = AnswerStream()
    for event in EventParser().feed(data):
        stream.feed(event)
    return stream


def plain_failure(body: bytes) -> AgentError:
    with pytest.raises(AgentError) as caught:
        plain_answer(body)
    # A log shows the causes of an error too.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert KEY not in str(caught.value) + repr(caught.value) + caught.value.answer
    return caught.value


def output(*texts: str, kind: str = "output_text", **more: object) -> dict[str, Any]:
    field = "refusal" if kind == "refusal" else "text"
    content = [{"type": kind, field: text} for text in texts]
    return {"output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": content}], **more}


class TestStream:
    def test_an_answer_is_the_sum_of_its_deltas(self) -> None:
        """Other events, such as reasoning and tool calls, are ignored."""
        stream = stream_of(
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.reasoning_text.delta", "delta": "hm"},
            delta("你"),
            delta("好"),
            {"type": "response.output_text.done", "text": "你好"},
        )
        assert (stream.text, stream.done) == ("你好", False)
        assert stream_of(delta("你"), delta("好"), COMPLETED).done

    def test_two_messages_of_one_answer_are_paragraphs(self) -> None:
        """An agent may write a message, use a tool and write another."""
        stream = stream_of(delta("Let me look.", 0), delta("It ", 2), delta("rains.", 2), COMPLETED)
        assert stream.text == "Let me look.\n\nIt rains."

    def test_the_completed_event_alone_is_an_answer(self) -> None:
        """Some servers send no deltas."""
        assert stream_of({"type": "response.completed", "response": output("whole")}).text == "whole"

    def test_a_refusal_is_an_answer(self) -> None:
        assert stream_of({"type": "response.refusal.delta", "delta": "I cannot."}, COMPLETED).text == "I cannot."

    def test_the_end_mark_of_other_apis_is_ignored(self) -> None:
        stream = stream_of_bytes(sse(delta("ok")) + b"data: [DONE]\n\n" + sse(COMPLETED))
        assert (stream.text, stream.done) == ("ok", True)

    def test_an_endless_answer_is_too_large(self) -> None:
        stream = stream_of(delta("a" * 500_000))
        (event,) = EventParser().feed(sse(delta("b" * 500_001)))
        with pytest.raises(AgentError, match="too_large"):
            stream.feed(event)


class TestPlainJson:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (output("one", " two", status="completed", error=None), "one two"),
            ({"output_text": "bare"}, "bare"),
            (output("no", kind="refusal"), "no"),
            ({"output": [*output("one")["output"], *output("two")["output"]]}, "one\n\ntwo"),
            ({"output": [{"type": "message", "content": "odd"}], "output_text": "good"}, "good"),
            ({"output": [], "status": "completed"} | {"output_text": ""}, ""),
        ],
        ids=["object", "bare", "refusal", "two messages", "both", "empty"],
    )
    def test_an_answer_may_be_one_object(self, value: object, text: str) -> None:
        assert plain_answer(json.dumps(value).encode()) == text

    @pytest.mark.parametrize(
        ("value", "facts", "partial"),
        [
            ({"status": "failed", "error": {"code": "oops", "message": KEY}}, {"reason": "failed", "code": "oops"}, ""),
            (
                output("half", status="incomplete", incomplete_details={"reason": "content_filter"}),
                {"reason": "incomplete", "code": "content_filter"},
                "half",
            ),
            ({"choices": []}, {"reason": "malformed"}, ""),
            ([KEY], {"reason": "malformed"}, ""),
        ],
        ids=["failed", "incomplete", "another API", "a list"],
    )
    def test_an_object_without_a_whole_answer_is_a_failure(
        self, value: object, facts: dict[str, str], partial: str
    ) -> None:
        error = plain_failure(json.dumps(value).encode())
        assert (error.facts, error.partial) == (facts, partial)

    @pytest.mark.parametrize(
        "body", [b"<html>", b"\xff", b'{"output":' + b"[" * 100_000, b""], ids=["html", "bytes", "depth", "empty"]
    )
    def test_a_body_that_is_not_json_is_malformed(self, body: bytes) -> None:
        assert plain_failure(body).failure.reason == "malformed"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "rate_limit", "type": "other"}}', "rate_limit"),
        (b'{"error": {"code": 1301}}', "1301"),
        (b'{"error": {"type": "overloaded", "message": "canary-key-4711"}}', "overloaded"),
        (b'{"error": "busy"}', "busy"),
        (b'{"error": "canary-key-4711 is wrong"}', ""),
        (b"<html>", ""),
    ],
)
def test_an_error_has_a_code_only_if_it_is_one_word(body: bytes, code: str) -> None:
    assert error_code(body) == code
