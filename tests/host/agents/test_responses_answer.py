"""Text out of the events and JSON objects of the Responses API, and the failures in them."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from maven_channel_wecom.host.agents.agent import AgentError
from maven_channel_wecom.host.agents.responses_answer import MAX_PARTS, ResponsesStream, plain_responses_answer
from maven_channel_wecom.host.agents.server_sent_events import MAX_EVENT_BYTES, EventParser
from tests.host.fake_responses import COMPLETED, delta, sse

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "canary-key-4711"


def stream_of(*events: Mapping[str, Any]) -> ResponsesStream:
    return stream_of_bytes(sse(*events))


def stream_of_bytes(data: bytes) -> ResponsesStream:
    stream = ResponsesStream()
    for event in EventParser().feed(data):
        stream.feed(event)
    return stream


def plain_failure(body: bytes) -> AgentError:
    with pytest.raises(AgentError) as caught:
        plain_responses_answer(body)
    # A log shows the causes of an error too.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert KEY not in str(caught.value) + repr(caught.value) + caught.value.answer("en")
    return caught.value


def output(*texts: str, kind: str = "output_text", **more: object) -> dict[str, Any]:
    field = "refusal" if kind == "refusal" else "text"
    content = [{"type": kind, field: text} for text in texts]
    return {"output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": content}], **more}


class TestStream:
    def test_an_answer_is_the_sum_of_its_deltas(self) -> None:
        """Other events, such as tool calls, are ignored."""
        stream = stream_of(
            {"type": "response.created", "response": {"id": "r"}},
            delta("你"),
            delta("好"),
            {"type": "response.output_text.done", "text": "你好"},
        )
        assert (stream.text, stream.done) == ("你好", False)
        assert stream_of(delta("你"), delta("好"), COMPLETED).done

    def test_a_reasoning_is_in_no_text_neither_so_far_nor_at_the_end(self) -> None:
        item = {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "content": [{"type": "reasoning_text", "text": "hm, hm"}],
        }
        events = (
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}},
            {"type": "response.reasoning_summary_part.added", "part": {"type": "summary_text", "text": ""}},
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"},
            {"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 0, "text": "hm"},
            {"type": "response.reasoning_summary_part.done", "part": {"type": "summary_text", "text": "hm"}},
            {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "hm, hm"},
            {"type": "response.reasoning_text.done", "output_index": 0, "content_index": 0, "text": "hm, hm"},
            {"type": "response.content_part.done", "part": {"type": "reasoning_text", "text": "hm, hm"}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            delta("It rains.", 1),
            {"type": "response.completed", "response": {"output": [item, message_item("It rains.")]}},
        )
        stream = ResponsesStream()
        texts = []
        for event in EventParser().feed(sse(*events)):
            stream.feed(event)
            texts.append(stream.text)
        assert texts == [""] * 9 + ["It rains."] * 2

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


def traced_bytes(stream: ResponsesStream, *events: Mapping[str, Any]) -> tuple[int, int]:
    """Feed the events, and return how much memory they took at the end and at most."""
    parsed = EventParser().feed(sse(*events))
    tracemalloc.start()
    try:
        for event in parsed:
            stream.feed(event)
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


class TestHostileStream:
    """Each answer of 64 MiB may consist of short events, and all of them must leave time and memory to other chats."""

    def test_a_short_event_does_not_join_the_text_so_far(self) -> None:
        stream = stream_of(*(delta("x" * 500) for _ in range(1000)))
        assert traced_bytes(stream, done("output_text", index=1, text="y"))[1] < 50_000
        assert stream.text == "x" * 500_000 + "\n\ny"

    def test_events_without_text_take_no_memory(self) -> None:
        events = [delta("", index) for index in range(2000)]
        events += [done("output_item", index=index, item={"type": "reasoning"}) for index in range(2000)]
        events += [done("output_text", index=index, text="") for index in range(2000)]
        stream = ResponsesStream()
        assert traced_bytes(stream, *events)[0] < 50_000
        assert stream.text == ""

    def test_an_answer_of_very_many_parts_is_too_large(self) -> None:
        stream = stream_of(*(delta("x", index) for index in range(MAX_PARTS)))
        assert stream.text.count("x") == MAX_PARTS
        (event,) = EventParser().feed(sse(delta("x", MAX_PARTS)))
        with pytest.raises(AgentError, match="too_large"):
            stream.feed(event)


def done(kind: str, *, index: int = 0, **fields: object) -> dict[str, Any]:
    return {"type": f"response.{kind}.done", "output_index": index, "content_index": 0, **fields}


def message_item(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


def completed(**response: object) -> dict[str, Any]:
    return {"type": "response.completed", "response": response}


WITHOUT_TEXT = [
    {"type": "response.completed"},
    completed(),
    completed(output=[]),
    completed(output=None),
    completed(output=5),
    {"type": "response.completed", "response": None},
    {"type": "response.completed", "response": []},
]


class TestPlacesOfTheText:
    """The API repeats a text in several events, and servers leave out some of them."""

    @pytest.mark.parametrize("end", WITHOUT_TEXT, ids=range(len(WITHOUT_TEXT)))
    @pytest.mark.parametrize(
        "event",
        [
            delta("TEXT"),
            {"type": "response.output_text.delta", "output_index": None, "content_index": None, "delta": "TEXT"},
            done("output_text", text="TEXT"),
            done("refusal", refusal="TEXT"),
            done("content_part", part={"type": "output_text", "text": "TEXT"}),
            done("content_part", part={"type": "refusal", "refusal": "TEXT"}),
            done("output_item", item=message_item("TEXT")),
            done("output_item", item={"type": "message", "content": "TEXT"}),
            done("output_item", item={"content": [{"type": "text", "text": "TEXT"}]}),
        ],
        ids=range(9),
    )
    def test_one_event_with_the_text_is_enough(self, event: dict[str, Any], end: dict[str, Any]) -> None:
        stream = stream_of(event, end)
        assert (stream.text, stream.done) == ("TEXT", True)

    def test_a_text_that_several_events_repeat_is_there_once(self) -> None:
        stream = stream_of(
            delta("TE"),
            delta("XT"),
            done("output_text", text="TEXT"),
            done("content_part", part={"type": "output_text", "text": "TEXT"}),
            done("output_item", item=message_item("TEXT")),
            completed(output=[{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}]),
            completed(output=[message_item("TEXT")], output_text="TEXT"),
        )
        assert stream.text == "TEXT"

    def test_a_text_that_is_repeated_at_another_position_is_there_once(self) -> None:
        """Some servers give only some events their positions."""
        unplaced = {"type": "response.output_text.delta", "output_index": None, "delta": "TEXT"}
        placed = done("output_item", index=1, item=message_item("TEXT"))
        assert stream_of(unplaced, done("output_text", index=1, text="TEXT"), placed, completed()).text == "TEXT"

    def test_a_longer_text_takes_the_place_of_the_shorter_one(self) -> None:
        placed = [delta("TE", 0), delta("second", 1)]
        assert stream_of(*placed, done("output_text", text="TEXT")).text == "TEXT\n\nsecond"
        assert stream_of(*placed, done("output_item", item=message_item("TEXT"))).text == "TEXT\n\nsecond"
        part = {"type": "response.output_text.delta", "output_index": 0, "content_index": 1, "delta": "!"}
        assert stream_of(delta("TE"), part, done("output_text", text="TEXT")).text == "TEXT!"

    def test_an_event_that_has_more_than_the_deltas_replaces_them(self) -> None:
        assert stream_of(delta("TE"), done("output_text", text="TEXT")).text == "TEXT"
        assert stream_of(delta("TE"), done("output_item", item=message_item("TEXT"))).text == "TEXT"
        assert (
            stream_of(delta("ONE"), completed(output=[message_item("ONE"), message_item("TWO")])).text == "ONE\n\nTWO"
        )

    @pytest.mark.parametrize(
        "output",
        [
            [{"type": None, "content": [{"type": "output_text", "text": "TEXT"}]}],
            [None, 5, "odd", message_item("TEXT")],
            [{"type": "foreign", "content": {"an": "object"}}, message_item("TEXT")],
            [{"type": "message", "content": [None, {"type": 5}, {"type": "output_text", "text": "TEXT"}]}],
            [{"type": "message", "content": [{"type": "output_text", "text": None}]}, message_item("TEXT")],
            [{"type": "reasoning", "content": [{"type": "text", "text": "hm"}]}, message_item("TEXT")],
        ],
        ids=range(6),
    )
    def test_one_odd_item_costs_only_itself(self, output: list[object]) -> None:
        response = {"status": "completed", "error": None, "output": output}
        assert stream_of(completed(**response)).text == "TEXT"
        assert plain_responses_answer(json.dumps(response).encode()).text == "TEXT"

    @pytest.mark.parametrize("value", [None, 5, [], {}])
    def test_a_delta_that_is_no_text_is_absent(self, value: object) -> None:
        stream = stream_of(delta("TE"), {"type": "response.output_text.delta", "delta": value}, delta("XT"), COMPLETED)
        assert stream.text == "TEXT"

    def test_half_a_character_is_replaced(self) -> None:
        data = rb'{"type":"response.output_text.delta","delta":"a\ud800b\uD83D\uDE00\udc00"}'
        assert stream_of_bytes(b"data: " + data + b"\n\n").text == "a\ufffdb\U0001f600\ufffd"

    @pytest.mark.parametrize(
        ("kind", "response", "reason"),
        [
            ("failed", {"error": {"code": "why"}}, "failed"),
            ("incomplete", {"incomplete_details": {"reason": "why"}}, "incomplete"),
            ("completed", {"status": "incomplete", "incomplete_details": {"reason": "why"}}, "incomplete"),
            ("completed", {"status": "failed", "error": "why"}, "failed"),
        ],
    )
    def test_an_answer_that_is_not_complete_keeps_its_text(
        self, kind: str, response: dict[str, Any], reason: str
    ) -> None:
        """It may be in the last event alone."""
        with pytest.raises(AgentError) as caught:
            stream_of({"type": f"response.{kind}", "response": {**response, "output": [message_item("half")]}})
        assert caught.value.facts == {"reason": reason, "code": "why"}
        assert caught.value.partial == "half"

    def test_an_incomplete_answer_without_a_response_is_incomplete(self) -> None:
        with pytest.raises(AgentError, match="incomplete"):
            stream_of({"type": "response.incomplete", "response": None})


class TestForeignEvents:
    @pytest.mark.parametrize(
        "event",
        [
            b": ping",
            b"event: ping\ndata: ping",
            b"event: ping\ndata: {}",
            b"event: heartbeat\ndata: 12:00:01",
            b"data: ping",
            b"data: []",
            b"data: 5",
            b"data: null",
            b"data: [DONE]",
            b'data: {"type": 3}',
            b'data: {"type": null}',
            rb'data: {"type": "other", "text": "\ud800"}',
            b"event: response.image\ndata: " + b"a" * (MAX_EVENT_BYTES + 1),
        ],
        ids=range(13),
    )
    def test_an_event_nobody_asked_for_costs_nothing(self, event: bytes) -> None:
        stream = stream_of_bytes(sse(delta("TE")) + event + b"\n\n" + sse(delta("XT"), COMPLETED))
        assert (stream.text, stream.done) == ("TEXT", True)

    def test_the_name_of_an_event_counts_if_its_data_has_no_type(self) -> None:
        data = b'event: response.output_text.delta\ndata: {"type": null, "delta": "TEXT"}\n\n'
        assert stream_of_bytes(data).text == "TEXT"

    def test_a_last_event_above_the_limit_ends_an_answer_that_has_arrived(self) -> None:
        end = b"event: response.completed\ndata: " + b"a" * (MAX_EVENT_BYTES + 1) + b"\n\n"
        stream = stream_of_bytes(sse(delta("TEXT")) + end)
        assert (stream.text, stream.done) == ("TEXT", True)
        for whole in (end, end.removeprefix(b"event: response.completed\n")):
            with pytest.raises(AgentError, match="too_large"):
                stream_of_bytes(whole)

    @pytest.mark.parametrize("name", ["response.output_text.delta", "response.completed"])
    def test_an_event_about_the_text_must_be_json(self, name: str) -> None:
        with pytest.raises(AgentError, match="malformed"):
            stream_of_bytes(f"event: {name}\ndata: {{\n\n".encode())

    def test_an_error_without_a_type_is_a_failure_with_its_code(self) -> None:
        with pytest.raises(AgentError) as caught:
            stream_of_bytes(b'data: {"error": {"code": "overloaded", "message": "canary-key-4711"}}\n\n')
        assert caught.value.facts == {"reason": "failed", "code": "overloaded"}

    def test_the_chat_completions_api_is_recognized(self) -> None:
        with pytest.raises(AgentError, match="other_api"):
            stream_of_bytes(b'data: {"object": "chat.completion.chunk", "choices": [{"delta": {}}]}\n\n')

    @pytest.mark.parametrize(
        "values", [b"[" * 60_000, b"[" + b"0," * 60_000 + b"0]", b'{"a":' * 60_000], ids=["lists", "numbers", "objects"]
    )
    def test_an_event_of_very_many_values_is_not_decoded(self, values: bytes) -> None:
        with pytest.raises(AgentError, match="too_large"):
            stream_of_bytes(b"event: response.completed\ndata: " + values + b"\n\n")


class TestPlainJson:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (output("one", " two", status="completed", error=None), "one two"),
            ({"output_text": "bare"}, "bare"),
            (output("no", kind="refusal"), "no"),
            ({"output": [*output("one")["output"], *output("two")["output"]]}, "one\n\ntwo"),
            ({"output": [{"type": "message", "content": 5}], "output_text": "good"}, "good"),
            ({"output": [], "status": "completed"} | {"output_text": ""}, ""),
            ({"output": None, "output_text": "TEXT"}, "TEXT"),
            ({"output": [], "status": "completed"}, ""),
        ],
        ids=["object", "bare", "refusal", "two messages", "both", "empty", "null", "no items"],
    )
    def test_an_answer_may_be_one_object(self, value: object, text: str) -> None:
        assert plain_responses_answer(json.dumps(value).encode()).text == text

    @pytest.mark.parametrize(
        ("value", "facts", "partial"),
        [
            ({"status": "failed", "error": {"code": "oops", "message": KEY}}, {"reason": "failed", "code": "oops"}, ""),
            (
                output("half", status="incomplete", incomplete_details={"reason": "content_filter"}),
                {"reason": "incomplete", "code": "content_filter"},
                "half",
            ),
            ({"choices": []}, {"reason": "other_api", "code": "chat-completions"}, ""),
            ({"other": []}, {"reason": "malformed"}, ""),
            ([KEY], {"reason": "malformed"}, ""),
        ],
        ids=["failed", "incomplete", "another API", "an object", "a list"],
    )
    def test_an_object_without_a_whole_answer_is_a_failure(
        self, value: object, facts: dict[str, str], partial: str
    ) -> None:
        error = plain_failure(json.dumps(value).encode())
        assert (error.facts, error.partial) == (facts, partial)

    @pytest.mark.parametrize(
        "body", [b"<html>", b"\xff", b'{"output":' + b"[" * 40_000, b""], ids=["html", "bytes", "depth", "empty"]
    )
    def test_a_body_that_is_not_json_is_malformed(self, body: bytes) -> None:
        assert plain_failure(body).failure.reason == "malformed"

    @pytest.mark.parametrize(("characters", "is_kept"), [(512, True), (513, False)])
    def test_an_id_that_is_too_long_is_not_kept(self, characters: int, *, is_kept: bool) -> None:
        response = output("TEXT", id="r" * characters)
        kept = "r" * characters if is_kept else ""
        assert plain_responses_answer(json.dumps(response).encode()).response_id == kept
        assert stream_of({"type": "response.completed", "response": response}).answer.response_id == kept
