"""One message as a trace: what an operator with an SDK sees of its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import StatusCode

from maven_channel_wecom.simulator.faults import Errcode
from maven_channel_wecom.simulator.messages import EnterChat, Image, Text, Unknown
from maven_channel_wecom.simulator.picture import draw_png
from maven_channel_wecom.telemetry.trail import trail_id
from tests.e2e.deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from tests.e2e.watch import Watch

ALLOWED = {"wecom.channel", "wecom.trail", "wecom.type", "wecom.outcome", "wecom.reason", "wecom.attempts"}


def tree(spans: InMemorySpanExporter) -> dict[str, str | None]:
    """Return the name of each span's parent by its own."""
    names = {span.context.span_id: span.name for span in spans.get_finished_spans()}
    return {span.name: names[span.parent.span_id] if span.parent else None for span in spans.get_finished_spans()}


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = (span for span in spans.get_finished_spans() if span.name == name)
    return found


def facts(span: ReadableSpan) -> dict[str, object]:
    return {key.removeprefix("wecom."): value for key, value in (span.attributes or {}).items()}


async def test_a_message_is_one_trace_from_its_callback_to_its_receipt(
    watch: Watch, spans: InMemorySpanExporter
) -> None:
    """Though its steps run in tasks of their own, after the acknowledgement."""
    async with Deployment(watch) as deployment:
        sent = await deployment.send(Image(draw_png(4, 4)))
        await sent.reply()
        await deployment.settled()
    assert tree(spans) == {
        "wecom callback": None,
        "wecom normalize": "wecom callback",
        "wecom publish": "wecom callback",
        "wecom deliver": "wecom publish",
    }
    common = {"channel": "wecom", "trail": trail_id("wecom", sent.message_id)}
    assert facts(named(spans, "wecom callback")) == common | {"type": "image", "outcome": "accepted"}
    assert facts(named(spans, "wecom normalize")) == common | {"outcome": "normalized"}
    assert facts(named(spans, "wecom publish")) == common | {"outcome": "published"}
    assert facts(named(spans, "wecom deliver")) == common | {"outcome": "delivered", "attempts": 1}


async def test_two_messages_are_two_traces(watch: Watch, spans: InMemorySpanExporter) -> None:
    """Also when they share a connection and a chat."""
    async with Deployment(watch) as deployment:
        for words in ("the first words", "the second words"):
            await deployment.ask(words)
        await deployment.settled()
    traces = [span.context.trace_id for span in spans.get_finished_spans()]
    assert sorted(traces.count(trace) for trace in set(traces)) == [4, 4]


async def test_a_state_that_takes_waiting_changes_nothing(
    watch: Watch, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    """The callback's span waits with it."""
    async with Deployment(watch, {"state": f"sqlite:{tmp_path}/state.db"}) as deployment:
        await deployment.ask("kept on a disk first")
        await deployment.settled()
    assert tree(spans)["wecom publish"] == "wecom callback"
    assert facts(named(spans, "wecom callback"))["outcome"] == "accepted"


async def test_an_answer_that_did_not_arrive_is_an_error(watch: Watch, spans: InMemorySpanExporter) -> None:
    """With outcome, reason and attempts."""
    async with Deployment(watch) as deployment:
        deployment.wecom.reply_faults.add(Errcode(45002))
        sent = await deployment.send(Text("refuse what I am told"))
        await deployment.auditor.receipt_for(sent.message_id)
        await deployment.settled()
    deliver = named(spans, "wecom deliver")
    assert deliver.status.status_code is StatusCode.ERROR
    assert facts(deliver).items() >= {"outcome": "refused", "reason": "too_long", "attempts": 1}.items()


async def test_nothing_in_a_trace_is_undeclared(watch: Watch, spans: InMemorySpanExporter) -> None:
    """No attribute that is not on the list, no event, no description; and a stranger leaves no span at all."""
    async with Deployment(watch) as deployment:
        await deployment.ask("words of somebody", user="user-1", group="group-1")
        await deployment.send(EnterChat())
        await deployment.send(Unknown("holographic-canary"))
        assert (await deployment.wecom.request("POST", body=b"garbage of a stranger")).status == 400
        await deployment.settled()
    finished = spans.get_finished_spans()
    assert len(finished) == 6
    assert {facts(span)["type"] for span in finished if span.name == "wecom callback"} == {"text", "event", "unknown"}
    assert {key for span in finished for key in span.attributes or {}} <= ALLOWED
    assert [span.name for span in finished if span.events or span.status.description or span.links] == []
