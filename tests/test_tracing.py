"""Spans where an SDK takes them, and nothing where none does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from opentelemetry.trace import StatusCode

from maven_channel_wecom.contract.messages import InboundMessage
from maven_channel_wecom.later import Later, settled
from maven_channel_wecom.protocol.callback import Callback
from maven_channel_wecom.tracing import open_tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

CALLBACK = Callback(message_id="m1", type="text", chat_type="single", sender_id="alice")
MESSAGE = InboundMessage(
    channel="wecom", sender_id="alice", chat_id="alice", content="canary", timestamp=1, message_id="m1"
)


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
