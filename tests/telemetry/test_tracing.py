"""Spans where an SDK takes them, and nothing where none does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import StatusCode

from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage, Receipt
from maven_channel_wecom.later import Later, settled
from maven_channel_wecom.protocol.callback import Callback
from maven_channel_wecom.tracing import Tracing, _Spans, open_tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from maven_channel_wecom.tracing import Tracing

CALLBACK = Callback(message_id="m1", type="text", chat_id="alice", sender_id="alice")
MESSAGE = InboundMessage(
    channel="wecom", sender_id="alice", chat_id="alice", content="canary", timestamp=1, message_id="m1"
)
ANSWER = OutboundMessage(channel="wecom", chat_id="alice", content="canary", reply_to="m1")
RECEIPT = Receipt(outcome="delivered", attempts=1)


class Admitted(msgspec.Struct, frozen=True):
    """What an inbox is given, as far as tracing looks at it."""

    callback: Callback


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


@pytest.mark.parametrize("setting", ["sys.modules['opentelemetry'] = None", ""], ids=["no package", "no SDK"])
def test_without_somebody_who_listens_every_step_stays_as_it_is(setting: str) -> None:
    """Decided once, so that no message pays for it."""
    code = (
        f"import sys\n{setting}\n"
        "from maven_channel_wecom.tracing import open_tracing\n"
        "tracing, step = open_tracing('wecom', '0'), object()\n"
        "wraps = (tracing.callback, tracing.takeover, tracing.normalize, tracing.publish, tracing.deliver)\n"
        "print([wrap(step) is step for wrap in wraps])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == f"{[True] * 5}\n"


async def test_an_error_leaves_its_kind_and_not_its_text(spans: InMemorySpanExporter) -> None:
    """It may hold what a user wrote."""

    async def fail(_message: InboundMessage) -> None:
        raise ValueError(MESSAGE.content)

    with pytest.raises(ValueError, match="canary"):
        await open_tracing("wecom", "0").publish(fail)(MESSAGE)
    span = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["wecom.reason"] == "ValueError"
    assert "canary" not in span.to_json()


async def test_a_callback_the_state_could_not_keep_in_time_ends_its_span_too(spans: InMemorySpanExporter) -> None:
    """Its caller was told to come again."""

    def take(_callback: Callback, _message: bytes) -> Later[str]:
        admitting = asyncio.get_running_loop().create_future()
        admitting.cancel()
        return Later(admitting)

    with pytest.raises(TimeoutError):
        await settled(open_tracing("wecom", "0").callback(take)(CALLBACK, b""))
    assert only(spans).status.status_code is StatusCode.ERROR


def test_a_message_of_an_earlier_process_begins_a_trace(spans: InMemorySpanExporter) -> None:
    """Its callback was another process's."""
    put: list[Admitted] = []
    open_tracing("wecom", "0").takeover(put.append)(Admitted(CALLBACK))
    assert put == [Admitted(CALLBACK)]
    span = only(spans)
    assert (span.name, span.parent) == ("wecom takeover", None)


class Unfit(Sampler, SpanProcessor):
    """What an operator may set up wrongly. It raises at every span's beginning, or, as a processor, at its end."""

    def should_sample(self, *_: object, **__: object) -> NoReturn:
        raise ValueError(CALLBACK.message_id)

    def get_description(self) -> str:
        return "unfit"

    def on_end(self, span: ReadableSpan) -> NoReturn:
        raise ValueError(CALLBACK.message_id)


async def taken(tracing: Tracing) -> list[object]:
    """Take every step once, and return what came of each."""
    loop = asyncio.get_running_loop()
    admitting = loop.create_future()
    loop.call_soon(admitting.set_result, "accepted")
    put: list[object] = []

    async def normalize(_admitted: Admitted) -> InboundMessage:
        return MESSAGE

    async def publish(message: InboundMessage) -> None:
        put.append(message)

    async def send(_message: OutboundMessage) -> Receipt:
        return RECEIPT

    tracing.takeover(put.append)(Admitted(CALLBACK))
    await tracing.publish(publish)(MESSAGE)
    return [
        tracing.callback(lambda _callback, _message: "accepted")(CALLBACK, b""),
        await settled(tracing.callback(lambda _callback, _message: Later(admitting))(CALLBACK, b"")),
        *put,
        await tracing.normalize(normalize)(Admitted(CALLBACK)),
        await tracing.deliver(send)(ANSWER),
    ]


@pytest.mark.parametrize("at", ["beginning", "end"])
async def test_an_sdk_that_raises_costs_no_message(at: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every step is taken and its outcome comes back; that spans are lost is told once."""
    provider = TracerProvider(sampler=Unfit()) if at == "beginning" else TracerProvider()
    provider.add_span_processor(Unfit())
    tracing = _Spans("wecom", provider.get_tracer("test"))
    assert await taken(tracing) == ["accepted", "accepted", Admitted(CALLBACK), MESSAGE, MESSAGE, RECEIPT]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["wecom spans lost"]
