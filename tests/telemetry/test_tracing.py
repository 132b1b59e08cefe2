"""Spans where an SDK takes them, and nothing where none does."""

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
    """What tracing reads of a callback."""

    message_id: str


class Admitted(msgspec.Struct, frozen=True):
    """What tracing reads of an admitted callback."""

    callback: Callback


ADMITTED = Admitted(Callback("m1"))


class Flow:
    """The steps of a channel, wrapped, and the events between them."""

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

    def emit(self, happened: events.TelemetryEvent) -> None:
        for kind, listener in self._listeners:
            if isinstance(happened, kind):
                listener(happened)

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
        self._listeners.append((kind, listener))  # type: ignore[arg-type]  # emit hands each listener its own class


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in spans.get_finished_spans()}
    assert len(found) == len(spans.get_finished_spans())
    return found


def tree(spans: InMemorySpanExporter) -> dict[str, str | None]:
    """Return the name of each span's parent by its own."""
    names = {span.context.span_id: span.name for span in spans.get_finished_spans()}
    return {span.name: names[span.parent.span_id] if span.parent else None for span in spans.get_finished_spans()}


@pytest.mark.parametrize("setting", ["sys.modules['opentelemetry'] = None", ""], ids=["no package", "no SDK"])
def test_without_an_sdk_every_step_stays_as_it_is(setting: str) -> None:
    """Decided once, so that no message pays for it; and no event is listened for."""
    code = (
        f"import sys\n{setting}\n"
        "from maven_channel_wecom.telemetry.tracing import open_tracing\n"
        "heard, step = [], object()\n"
        "tracing = open_tracing('wecom', '0', lambda *arguments: heard.append(arguments))\n"
        "print([wrap(step) is step for wrap in (tracing.normalize, tracing.publish, tracing.deliver)], heard)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == "[True, True, True] []\n"


async def test_a_message_is_one_trace_though_its_steps_run_in_other_tasks(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.emit(event(events.CallbackAnswered))
    await asyncio.ensure_future(flow.normalize(ADMITTED))
    await asyncio.ensure_future(flow.publish(MESSAGE))
    assert tree(spans) == {
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


def test_a_callback_has_the_times_of_its_event(spans: InMemorySpanExporter) -> None:
    Flow().emit(event(events.CallbackAnswered, started_at=1_000.0, answered_at=1_000.25))
    span = by_name(spans)["wecom callback"]
    assert (span.start_time, span.end_time) == (1_000_000_000_000, 1_000_250_000_000)


async def test_an_answer_after_publish_belongs_to_its_callback(spans: InMemorySpanExporter) -> None:
    """A host may answer from another task."""
    flow = Flow()
    flow.answers_while_published = False
    flow.emit(event(events.CallbackAnswered))
    await flow.publish(MESSAGE)
    await flow.deliver(ANSWER)
    assert tree(spans)["wecom deliver"] == "wecom callback"


async def test_an_answer_belongs_to_the_span_of_the_host_that_makes_it(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.emit(event(events.CallbackAnswered))
    with trace.get_tracer("host").start_as_current_span("turn of the agent"):
        await flow.deliver(ANSWER)
    assert tree(spans)["wecom deliver"] == "turn of the agent"


async def test_a_span_around_the_start_of_a_channel_is_no_parent_of_its_messages(spans: InMemorySpanExporter) -> None:
    """Every task of the channel inherits its context."""
    flow = Flow()
    with trace.get_tracer("host").start_as_current_span("start of the gateway"):
        flow.emit(event(events.CallbackAnswered))
        await flow.normalize(ADMITTED)
    assert tree(spans) == {
        "wecom callback": None,
        "wecom normalize": "wecom callback",
        "start of the gateway": None,
    }


async def test_a_message_of_an_earlier_process_begins_a_trace(spans: InMemorySpanExporter) -> None:
    """Its callback was another process's."""
    flow = Flow()
    flow.emit(event(events.MessageRecovered, type="image"))
    await flow.normalize(ADMITTED)
    assert tree(spans) == {"wecom takeover": None, "wecom normalize": "wecom takeover"}
    span = by_name(spans)["wecom takeover"]
    assert (span.kind, dict(span.attributes or {})) == (SpanKind.CONSUMER, COMMON | {"wecom.type": "image"})


@pytest.mark.parametrize(
    ("type_", "shown"), [("text", "text"), ("event", "event"), ("stream", "stream"), ("hologram", "unknown")]
)
def test_a_type_wecom_does_not_have_is_not_shown(type_: str, shown: str, spans: InMemorySpanExporter) -> None:
    """Somebody who can sign may send any text as one."""
    Flow().emit(event(events.CallbackAnswered, type=type_))
    assert (by_name(spans)["wecom callback"].attributes or {})["wecom.type"] == shown


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


async def test_a_message_that_ended_is_forgotten(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.emit(event(events.CallbackAnswered))
    flow.emit(event(events.MessageEnded))
    await flow.normalize(ADMITTED)
    assert tree(spans)["wecom normalize"] is None


async def test_the_oldest_messages_are_forgotten_when_they_are_too_many() -> None:
    """With a provider of its own, as the exporter of the suite would keep every span."""
    provider = TracerProvider(shutdown_on_exit=False)
    flow = Flow(provider.get_tracer("test"))
    for number in range(MAX_ROOTS + 1):
        flow.emit(event(events.CallbackAnswered, message_id=f"m{number}"))
    parents: dict[str, bool] = {}

    class Ends(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            parents[str((span.attributes or {})["wecom.trail"])] = span.parent is not None

    provider.add_span_processor(Ends())
    for message_id in ("m0", "m1", f"m{MAX_ROOTS}"):
        await flow.normalize(Admitted(Callback(message_id)))
    assert list(parents.values()) == [False, True, True]


async def test_a_message_of_nothing_is_unsupported(spans: InMemorySpanExporter) -> None:
    flow = Flow()
    flow.message = None
    assert await flow.normalize(ADMITTED) is None
    assert (by_name(spans)["wecom normalize"].attributes or {})["wecom.outcome"] == "unsupported"


async def test_an_answer_that_did_not_arrive_is_an_error(spans: InMemorySpanExporter) -> None:
    """With outcome, reason and attempts."""
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


async def test_an_error_leaves_its_class_and_not_its_text(spans: InMemorySpanExporter) -> None:
    """It may hold what a user wrote."""
    flow = Flow()
    flow.error = ValueError(MESSAGE.content)
    with pytest.raises(ValueError, match="canary"):
        await flow.publish(MESSAGE)
    span = by_name(spans)["wecom publish"]
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["wecom.reason"] == "ValueError"
    assert "canary" not in span.to_json()


class Unfit(Sampler, SpanProcessor):
    """What an operator may set up wrongly. It raises at every span's beginning, or, as a processor, at its end."""

    def should_sample(self, *_: object, **__: object) -> NoReturn:
        raise ValueError(MESSAGE.message_id)

    def get_description(self) -> str:
        return "unfit"

    def on_end(self, span: ReadableSpan) -> NoReturn:
        raise ValueError(MESSAGE.message_id)


@pytest.mark.parametrize("at", ["beginning", "end"])
async def test_an_sdk_that_raises_costs_no_message(at: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every step is taken and its outcome comes back; that spans are lost is logged once."""
    provider = TracerProvider(sampler=Unfit()) if at == "beginning" else TracerProvider()
    provider.add_span_processor(Unfit())
    flow = Flow(provider.get_tracer("test"))
    flow.emit(event(events.CallbackAnswered))
    flow.emit(event(events.MessageRecovered, message_id="m2"))
    assert await flow.normalize(ADMITTED) == MESSAGE
    await flow.publish(MESSAGE)
    assert flow.answers == [RECEIPT]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["wecom spans lost"]
