"""Spans, with and without an OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn, TypeVar

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind, StatusCode

from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage, Receipt
from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.tracing import MAX_ROOTS, SpanTracing, Tracing, open_tracing
from maven_channel_wecom.telemetry.trail import trail_id
from tests.spans import parents
from tests.telemetry.samples import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Tracer

_E = TypeVar("_E", bound=events.TelemetryEvent)

MESSAGE = InboundMessage(
    channel="wecom", sender_id="alice", chat_id="alice", content="canary", timestamp=1, message_id="m1"
)
ANSWER = OutboundMessage(channel="wecom", chat_id="alice", content="canary", reply_to="m1")
RECEIPT = Receipt(outcome="delivered", attempts=1)
COMMON = {"wecom.channel": "wecom", "wecom.trail": trail_id("wecom", "m1")}


class Callback(msgspec.Struct, frozen=True):
    """The fields of a callback that the tracing reads."""

    message_id: str


class Admitted(msgspec.Struct, frozen=True):
    """The fields of an admitted callback that the tracing reads."""

    callback: Callback


ADMITTED = Admitted(Callback("m1"))


class Flow:
    """The wrapped operations of a channel, and its events."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._listeners: list[tuple[type[events.TelemetryEvent], Callable[[events.TelemetryEvent], object]]] = []
        self.tracing: Tracing = (
            open_tracing("wecom", "0", self._listen) if tracer is None else SpanTracing("wecom", tracer, self._listen)
        )
        self.normalize = self.tracing.normalize(self._normalize)
        self.publish = self.tracing.publish(self._publish)
        self.deliver = self.tracing.deliver(self._deliver)
        self.answers: list[Receipt] = []
        self.answers_while_published = True
        self.message: InboundMessage | None = MESSAGE
        self.receipt = RECEIPT
        self.error: Exception | None = None

    def emit(self, emitted: events.TelemetryEvent) -> None:
        for kind, listener in self._listeners:
            if isinstance(emitted, kind):
                listener(emitted)

    async def _normalize(self, _admitted: Admitted) -> InboundMessage | None:
        return self.message

    async def _publish(self, _message: InboundMessage) -> None:
        if self.error:
            raise self.error
        if self.answers_while_published:
            self.answers.append(await self.deliver(ANSWER))

    async def _deliver(self, _message: OutboundMessage) -> Receipt:
        return self.receipt

    def _listen(self, kind: type[_E], listener: Callable[[_E], object]) -> None:
        self._listeners.append((kind, listener))  # type: ignore[arg-type]  # emit checks the class


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in spans.get_finished_spans()}
    assert len(found) == len(spans.get_finished_spans())
    return found


@pytest.mark.parametrize("setting", ["sys.modules['opentelemetry'] = None", ""], ids=["no package", "no SDK"])
def test_without_an_sdk_functions_are_not_wrapped_and_no_listener_is_registered(setting: str) -> None:
    code = (
        f"import sys\n{setting}\n"
        "from maven_channel_wecom.telemetry.tracing import open_tracing\n"
        "listeners, function = [], object()\n"
        "tracing = open_tracing('wecom', '0', lambda *arguments: listeners.append(arguments))\n"
        "wraps = (tracing.normalize, tracing.publish, tracing.deliver)\n"
        "print([wrap(function) is function for wrap in wraps], listeners)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == "[True, True, True] []\n"


async def test_all_spans_of_a_message_are_in_one_trace_although_they_start_in_other_tasks(
    spans: InMemorySpanExporter,
) -> None:
    flow = Flow()
    flow.emit(event(events.CallbackAnswered))
    await asyncio.ensure_future(flow.normalize(ADMITTED))
    await asyncio.ensure_future(flow.publish(MESSAGE))
    assert parents(spans) == {
        "wecom callback": None,
        "wecom normalize": "wecom callback",
        "wecom publish": "wecom callback",
        "wecom deliver": "wecom publish",
    }
    assert {name: (span.kind, dict(span.attributes or {})) for name, span in by_name(spans).items()} == {
        "wecom callback": (SpanKind.SERVER, COMMON | {"wecom.type": "text", "wecom.outcome": "accepted"}),
        "wecom normalize": (SpanKind.INTERNAL, COMMON | {"wecom.outcome": "normalized"}),
        "wecom publish": (SpanKind.PRODUCER, COMMON | {"wecom.outcome": "published"}),
        "wecom deliver": (SpanKind.CLIENT, COMMON | {"wecom.outcome": "delivered", "wecom.attempts": 1}),
    }


def test_the_span_of_a_callback_has_the_times_of_its_event(spans: InMemorySpanExporter) -> None:
    Flow().emit(event(events.CallbackAnswered, started_at=1_000.0, answered_at=1_000.25))
    span = by_name(spans)["wecom callback"]
    assert (span.start_time, span.end_time) == (1_000_000_000_000, 1_000_250_000_000)


async def test_an_answer_after_publish_is_a_child_of_its_callback(spans: InMemorySpanExporter) -> None:
    """A host may answer from another task."""
    flow = Flow()
    flow.answers_while_published = False
    flow.emit(event(events.CallbackAnswered))
    await flow.publish(MESSAGE)
    await flow.deliver(ANSWER)
    assert parents(spans)["wecom deliver"] == "wecom callback"


async def test_an_answer_is_a_child_of_the_current_span_of_the_host(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.emit(event(events.CallbackAnswered))
    with trace.get_tracer("host").start_as_current_span("turn of the agent"):
        await flow.deliver(ANSWER)
    assert parents(spans)["wecom deliver"] == "turn of the agent"


async def test_a_span_around_the_start_of_a_channel_is_not_a_parent_of_its_messages(
    spans: InMemorySpanExporter,
) -> None:
    """All tasks of the channel inherit the context of the start."""
    flow = Flow()
    with trace.get_tracer("host").start_as_current_span("start of the gateway"):
        flow.emit(event(events.CallbackAnswered))
        await flow.normalize(ADMITTED)
    assert parents(spans) == {
        "wecom callback": None,
        "wecom normalize": "wecom callback",
        "start of the gateway": None,
    }


async def test_a_recovered_message_starts_a_trace(spans: InMemorySpanExporter) -> None:
    """Its callback was received by another process."""
    flow = Flow()
    flow.emit(event(events.MessageRecovered, type="image"))
    await flow.normalize(ADMITTED)
    assert parents(spans) == {"wecom takeover": None, "wecom normalize": "wecom takeover"}
    span = by_name(spans)["wecom takeover"]
    assert (span.kind, dict(span.attributes or {})) == (SpanKind.CONSUMER, COMMON | {"wecom.type": "image"})


@pytest.mark.parametrize(
    ("type_", "expected"), [("text", "text"), ("event", "event"), ("stream", "stream"), ("hologram", "unknown")]
)
def test_an_unknown_type_is_not_an_attribute(type_: str, expected: str, spans: InMemorySpanExporter) -> None:
    """A client that can sign callbacks may send any text as a type."""
    Flow().emit(event(events.CallbackAnswered, type=type_))
    assert (by_name(spans)["wecom callback"].attributes or {})["wecom.type"] == expected


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("accepted", StatusCode.UNSET),
        ("duplicate", StatusCode.UNSET),
        ("refused", StatusCode.UNSET),
        ("state", StatusCode.ERROR),
        ("state_full", StatusCode.ERROR),
        ("draining", StatusCode.ERROR),
    ],
)
def test_a_callback_that_was_not_acknowledged_is_an_error(
    outcome: str, status: StatusCode, spans: InMemorySpanExporter
) -> None:
    Flow().emit(event(events.CallbackAnswered, outcome=outcome))
    assert by_name(spans)["wecom callback"].status.status_code is status


async def test_the_root_span_of_a_message_that_ended_is_dropped(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.emit(event(events.CallbackAnswered))
    flow.emit(event(events.MessageEnded))
    await flow.normalize(ADMITTED)
    assert parents(spans)["wecom normalize"] is None


async def test_the_oldest_root_span_is_dropped_if_there_are_too_many() -> None:
    # The exporter of the suite would keep every span.
    provider = TracerProvider(shutdown_on_exit=False)
    flow = Flow(provider.get_tracer("test"))
    for number in range(MAX_ROOTS + 1):
        flow.emit(event(events.CallbackAnswered, message_id=f"m{number}"))
    parents: dict[str, bool] = {}

    class ParentRecorder(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            parents[str((span.attributes or {})["wecom.trail"])] = span.parent is not None

    provider.add_span_processor(ParentRecorder())
    for message_id in ("m0", "m1", f"m{MAX_ROOTS}"):
        await flow.normalize(Admitted(Callback(message_id)))
    assert list(parents.values()) == [False, True, True]


async def test_an_empty_message_is_unsupported(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.message = None
    assert await flow.normalize(ADMITTED) is None
    assert (by_name(spans)["wecom normalize"].attributes or {})["wecom.outcome"] == "unsupported"


async def test_an_answer_that_was_not_delivered_is_an_error(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.receipt = Receipt(outcome="refused", reason="too_long", attempts=1)
    assert await flow.deliver(ANSWER) == flow.receipt
    span = by_name(spans)["wecom deliver"]
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {}) == COMMON | {
        "wecom.outcome": "refused",
        "wecom.reason": "too_long",
        "wecom.attempts": 1,
    }


async def test_only_the_class_of_an_exception_is_recorded(spans: InMemorySpanExporter) -> None:
    """The text of an exception may contain a user's text."""
    flow = Flow()
    flow.error = ValueError(MESSAGE.content)
    with pytest.raises(ValueError, match="canary"):
        await flow.publish(MESSAGE)
    span = by_name(spans)["wecom publish"]
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["wecom.reason"] == "ValueError"
    assert "canary" not in span.to_json()


class FailingSdk(Sampler, SpanProcessor):
    """A sampler that raises when a span starts, and a span processor that raises when a span ends."""

    def should_sample(self, *_: object, **__: object) -> NoReturn:
        raise ValueError(MESSAGE.message_id)

    def get_description(self) -> str:
        return "failing"

    def on_end(self, span: ReadableSpan) -> NoReturn:
        raise ValueError(MESSAGE.message_id)


@pytest.mark.parametrize("failing_at", ["start", "end"])
async def test_an_sdk_that_raises_does_not_affect_messages(failing_at: str, caplog: pytest.LogCaptureFixture) -> None:
    """The lost spans are logged once."""
    provider = TracerProvider(sampler=FailingSdk()) if failing_at == "start" else TracerProvider()
    provider.add_span_processor(FailingSdk())
    flow = Flow(provider.get_tracer("test"))
    flow.emit(event(events.CallbackAnswered))
    flow.emit(event(events.MessageRecovered, message_id="m2"))
    assert await flow.normalize(ADMITTED) == MESSAGE
    await flow.publish(MESSAGE)
    assert flow.answers == [RECEIPT]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["wecom spans lost"]
