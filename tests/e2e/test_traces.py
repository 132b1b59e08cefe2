"""Tests for the spans of a message, as an application with an OpenTelemetry SDK receives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import StatusCode

from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.messages import EnterChat, Image, Text, Unknown
from maven_channel_wecom.simulator.picture import draw_png
from maven_channel_wecom.telemetry.trail import trail_id
from tests.e2e.deployment import Deployment
from tests.spans import parents

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from tests.e2e.watch import Watch

ALLOWED = {"wecom.channel", "wecom.trail", "wecom.type", "wecom.outcome", "wecom.reason", "wecom.attempts"}


def span_named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = (span for span in spans.get_finished_spans() if span.name == name)
    return found


def attributes(span: ReadableSpan) -> dict[str, object]:
    return {key.removeprefix("wecom."): value for key, value in (span.attributes or {}).items()}


async def test_a_message_is_one_trace_from_its_callback_to_its_receipt(
    watch: Watch, spans: InMemorySpanExporter
) -> None:
    """Most of the work runs in other tasks, after the acknowledgement."""
    async with Deployment(watch) as deployment:
        sent = await deployment.send(Image(draw_png(4, 4)))
        await sent.reply()
        await deployment.wait_until_idle()
    assert parents(spans) == {
        "wecom callback": None,
        "wecom normalize": "wecom callback",
        "wecom publish": "wecom callback",
        "wecom deliver": "wecom publish",
    }
    common = {"channel": "wecom", "trail": trail_id("wecom", sent.message_id)}
    assert attributes(span_named(spans, "wecom callback")) == common | {"type": "image", "outcome": "accepted"}
    assert attributes(span_named(spans, "wecom normalize")) == common | {"outcome": "normalized"}
    assert attributes(span_named(spans, "wecom publish")) == common | {"outcome": "published"}
    assert attributes(span_named(spans, "wecom deliver")) == common | {"outcome": "delivered", "attempts": 1}


async def test_two_messages_of_one_chat_are_two_traces(watch: Watch, spans: InMemorySpanExporter) -> None:
    async with Deployment(watch) as deployment:
        for words in ("the first words", "the second words"):
            await deployment.ask(words)
        await deployment.wait_until_idle()
    traces = [span.context.trace_id for span in spans.get_finished_spans()]
    assert sorted(traces.count(trace) for trace in set(traces)) == [4, 4]


async def test_the_trace_is_the_same_with_a_state_on_disk(
    watch: Watch, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    async with Deployment(watch, {"state": f"sqlite:{tmp_path}/state.db"}) as deployment:
        await deployment.ask("stored on disk first")
        await deployment.wait_until_idle()
    assert parents(spans)["wecom publish"] == "wecom callback"
    assert attributes(span_named(spans, "wecom callback"))["outcome"] == "accepted"


async def test_the_span_of_a_refused_reply_has_an_error_status(watch: Watch, spans: InMemorySpanExporter) -> None:
    async with Deployment(watch) as deployment:
        deployment.wecom.reply_faults.add(Errcode(45002))
        sent = await deployment.send(Text("an answer that is refused"))
        await deployment.auditor.receipt_for(sent.message_id)
        await deployment.wait_until_idle()
    deliver = span_named(spans, "wecom deliver")
    assert deliver.status.status_code is StatusCode.ERROR
    assert attributes(deliver).items() >= {"outcome": "refused", "reason": "too_long", "attempts": 1}.items()


async def test_spans_carry_only_documented_attributes(watch: Watch, spans: InMemorySpanExporter) -> None:
    """Spans have no events, links or descriptions, and a rejected request leaves no span."""
    async with Deployment(watch) as deployment:
        await deployment.ask("words of a user", user="user-1", group="group-1")
        await deployment.send(EnterChat())
        await deployment.send(Unknown("holographic-canary"))
        assert (await deployment.wecom.request("POST", body=b"garbage of an attacker")).status == 400
        await deployment.wait_until_idle()
    finished = spans.get_finished_spans()
    # The message of an unknown type is normalized, and its explanation delivered.
    assert len(finished) == 8
    assert {attributes(span)["type"] for span in finished if span.name == "wecom callback"} == {
        "text",
        "event",
        "unknown",
    }
    assert {key for span in finished for key in span.attributes or {}} <= ALLOWED
    assert [span.name for span in finished if span.events or span.status.description or span.links] == []
