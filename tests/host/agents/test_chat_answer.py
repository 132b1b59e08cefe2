"""The text in answers of the Chat Completions API, and what counts as a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.chat_answer import ChatStream, plain_chat_answer
from maven_channel_wecom.host.agents.server_sent_events import MAX_EVENT_BYTES, EventParser
from tests.host.fake_responses import chunk, finish, sse_data

KEY = "canary-key-4711"
DONE = b"data: [DONE]\n\n"


def stream_of(*parts: bytes | dict[str, Any]) -> ChatStream:
    stream = ChatStream()
    parser = EventParser()
    for part in parts:
        for event in parser.feed(part if isinstance(part, bytes) else sse_data(part)):
            stream.feed(event)
    return stream


def failure_of(*parts: bytes | dict[str, Any]) -> AgentError:
    with pytest.raises(AgentError) as caught:
        stream_of(*parts)
    assert KEY not in str(caught.value)
    return caught.value


class TestStream:
    @pytest.mark.parametrize(
        ("deltas", "text"),
        [
            ([{"role": "assistant", "content": ""}, {"content": "TE"}, {"content": "XT"}], "TEXT"),
            ([{"content": None}, {"content": "TEXT"}, {}], "TEXT"),
            ([{"content": [{"type": "text", "text": "TEXT"}]}], "TEXT"),
            ([{"content": [{"type": "thinking", "thinking": "no", "text": "no"}, {"text": "TEXT"}]}], "TEXT"),
            ([{"refusal": "no"}], "no"),
            ([{"reasoning_content": "hm"}, {"reasoning": "hm", "content": None}, {"content": "TEXT"}], "TEXT"),
            ([{"reasoning_details": [{"text": "hm"}], "content": "TEXT"}], "TEXT"),
            ([{"tool_calls": [{"function": {"name": "f"}}]}], ""),
            ([{"content": 5}, {"content": {"text": "no"}}, 5, None], ""),
        ],
        ids=range(9),
    )
    def test_the_text_is_found_and_reasoning_is_not_read(self, deltas: list[Any], text: str) -> None:
        stream = stream_of(*(chunk(each) for each in deltas), finish("stop"), DONE)
        assert (stream.answer.text, stream.done) == (text, True)

    def test_a_message_at_the_end_counts_if_it_is_longer(self) -> None:
        assert stream_of(chunk({"content": "TE"}), finish("stop", message={"content": "TEXT"})).text == "TEXT"
        assert stream_of(chunk({"content": "TEXT"}), finish("stop", message={"content": ""})).text == "TEXT"

    def test_only_the_first_choice_counts(self) -> None:
        other = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]}
        stream = stream_of(chunk({"content": "TEXT"}), other)
        assert (stream.text, stream.complete) == ("TEXT", False)

    @pytest.mark.parametrize("reason", ["stop", "tool_calls", "eos", "function_call"])
    def test_an_answer_is_complete_with_its_finish_reason(self, reason: str) -> None:
        stream = stream_of(chunk({"content": "TEXT"}), finish(reason))
        assert (stream.complete, stream.done) == (True, False)

    @pytest.mark.parametrize(
        "reason",
        ["length", "content_filter", "max_tokens", "model_length", "sensitive", "insufficient_system_resource"],
    )
    def test_an_answer_is_incomplete_with_the_finish_reasons_of_one_that_was_cut(self, reason: str) -> None:
        error = failure_of(chunk({"content": "half"}), finish(reason))
        assert error.facts == {"reason": "incomplete", "code": reason}

    @pytest.mark.parametrize("reason", [None, "", 0])
    def test_an_empty_finish_reason_is_none(self, reason: object) -> None:
        assert not stream_of({"choices": [{"delta": {"content": "T"}, "finish_reason": reason}]}).complete

    @pytest.mark.parametrize(
        ("last", "facts"),
        [
            (finish("error", error={"code": 502, "message": KEY}), {"reason": "failed", "code": "502"}),
            (finish("network_error"), {"reason": "failed", "code": "network_error"}),
            (
                {"error": {"code": None, "type": "overloaded", "message": KEY}},
                {"reason": "failed", "code": "overloaded"},
            ),
            ({"error": KEY + " is wrong"}, {"reason": "failed"}),
            (
                b'event: error\ndata: {"message": "canary-key-4711 x", "code": 500}\n\n',
                {"reason": "failed", "code": "500"},
            ),
            ({"type": "response.created", "response": {}}, {"reason": "other_api", "code": "responses"}),
            ({"object": "response", "output": []}, {"reason": "other_api", "code": "responses"}),
            (b"data: {broken\n\n", {"reason": "malformed"}),
            (b"data: " + b"a" * (MAX_EVENT_BYTES + 1) + b"\n\n", {"reason": "too_large"}),
            (chunk({"content": "a" * 1_000_001}), {"reason": "too_large"}),
            (b'data: {"choices": [' + b"[]," * 60_000 + b"0]}\n\n", {"reason": "too_large"}),
        ],
        ids=range(11),
    )
    def test_each_failure_has_its_reason(self, last: bytes | dict[str, Any], facts: dict[str, str]) -> None:
        assert failure_of(chunk({"content": "half"}), last).facts == facts

    @pytest.mark.parametrize(
        "event",
        [
            b": ping",
            b"event: ping\ndata: ping",
            b"data: []",
            b"data: 5",
            b"data: null",
            b"data: {}",
            b'data: {"choices": [], "usage": {"total_tokens": 5}}',
            b'data: {"choices": null}',
            b'data: {"choices": [null, 5]}',
            b'data: {"error": null, "choices": []}',
            rb'data: {"other": "\ud800"}',
            b"event: picture\ndata: " + b"a" * (MAX_EVENT_BYTES + 1),
        ],
        ids=range(12),
    )
    def test_an_event_nobody_asked_for_costs_nothing(self, event: bytes) -> None:
        stream = stream_of(chunk({"content": "TE"}), event + b"\n\n", chunk({"content": "XT"}), DONE)
        assert (stream.text, stream.done) == ("TEXT", True)


def plain(choice: object, **fields: object) -> bytes:
    return json.dumps({"choices": [choice], **fields}).encode()


class TestPlainJson:
    @pytest.mark.parametrize(
        ("message", "text"),
        [
            ({"role": "assistant", "content": "TEXT"}, "TEXT"),
            ({"content": [{"type": "text", "text": "TE"}, {"type": "text", "text": "XT"}]}, "TEXT"),
            ({"content": None, "refusal": "no"}, "no"),
            ({"content": None, "tool_calls": [{}]}, ""),
            ({"content": "TEXT", "reasoning_content": "hm", "reasoning": "hm"}, "TEXT"),
            (None, ""),
        ],
        ids=range(6),
    )
    def test_an_answer_may_be_one_object(self, message: object, text: str) -> None:
        assert plain_chat_answer(plain({"message": message, "finish_reason": "stop"}, error=None)).text == text

    @pytest.mark.parametrize(
        ("body", "facts", "partial"),
        [
            (
                plain({"message": {"content": "half"}, "finish_reason": "length"}),
                {"reason": "incomplete", "code": "length"},
                "half",
            ),
            (plain({"message": {"content": "a" * 1_000_001}}), {"reason": "too_large"}, ""),
            (b'{"error": {"code": "busy", "message": "canary-key-4711"}}', {"reason": "failed", "code": "busy"}, ""),
            (b'{"object": "response", "output": []}', {"reason": "other_api", "code": "responses"}, ""),
            (b'{"choices": []}', {"reason": "malformed"}, ""),
            (b"[]", {"reason": "malformed"}, ""),
            (b"<html>", {"reason": "malformed"}, ""),
        ],
        ids=range(7),
    )
    def test_an_object_without_a_whole_answer_is_a_failure(
        self, body: bytes, facts: dict[str, str], partial: str
    ) -> None:
        with pytest.raises(AgentError) as caught:
            plain_chat_answer(body)
        assert (caught.value.facts, caught.value.partial) == (facts, partial)
