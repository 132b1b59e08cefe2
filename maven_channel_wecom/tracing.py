"""Spans of a message's way, for whoever runs an OpenTelemetry SDK. For everybody else the steps stay as they are.

No span holds a user, a chat, a text or a URL; the trail that is there is the one of the log. No span costs a message:
samplers and processors are the operator's, and the SDK lets through what they raise.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from maven_channel_wecom.later import Later
from maven_channel_wecom.protocol.callback import EVENT, MESSAGE_TYPES, STREAM
from maven_channel_wecom.trail import trail_id

try:
    from opentelemetry import trace
except ImportError:
    _INSTALLED = False
else:
    _INSTALLED = True

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from opentelemetry.trace import Span, SpanKind, Tracer

    from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage, Receipt
    from maven_channel_wecom.protocol.callback import Callback

    class _Admitted(Protocol):
        @property
        def callback(self) -> Callback: ...

    _Take = Callable[[Callback, bytes], str | Later[str]]
    _A = TypeVar("_A", bound=_Admitted)
    _Put = Callable[[_A], None]
    _Normalize = Callable[[_A], Awaitable[InboundMessage | None]]
    _Publish = Callable[[InboundMessage], Coroutine[None, None, None]]
    _Send = Callable[[OutboundMessage], Awaitable[Receipt]]

logger = logging.getLogger(__name__)

# Whoever can sign can call a type as they like.
_TYPES = frozenset({*MESSAGE_TYPES, EVENT, STREAM})
_ACKNOWLEDGED = frozenset({"accepted", "duplicate", "refused"})


class Tracing:
    """Gives each step of a channel its span. This one gives none: it returns every step as it is."""

    def callback(self, take: _Take) -> _Take:
        """Wrap the step from an opened callback to the outcome its answer depends on."""
        return take

    def takeover(self, put: _Put[_A]) -> _Put[_A]:
        """Wrap the step by which a message of an earlier process comes into hand."""
        return put

    def normalize(self, normalize: _Normalize[_A]) -> _Normalize[_A]:
        """Wrap the step from a callback to a message, media included."""
        return normalize

    def publish(self, publish: _Publish) -> _Publish:
        """Wrap the step from a message until the host has dealt with it."""
        return publish

    def deliver(self, send: _Send) -> _Send:
        """Wrap the step from an answer to a receipt."""
        return send


class _Spans(Tracing):
    """One trace for each message: what is made while a span is current, tasks included, belongs to it."""

    def __init__(self, channel: str, tracer: Tracer) -> None:
        self._channel = channel
        self._tracer = tracer
        self._told = False

    def callback(self, take: _Take) -> _Take:
        def traced(callback: Callback, message: bytes) -> str | Later[str]:
            span = self._begin("wecom callback", trace.SpanKind.SERVER, callback.message_id)
            span.set_attribute("wecom.type", callback.type if callback.type in _TYPES else "unknown")
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                outcome = take(callback, message)
            if isinstance(outcome, Later):
                return outcome.then(partial(conclude, span))
            self._end_callback(span, outcome)
            return outcome

        def conclude(span: Span, result: Callable[[], str]) -> str:
            outcome = "state"
            try:
                with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                    outcome = result()
                return outcome
            finally:
                self._end_callback(span, outcome)

        return traced

    def takeover(self, put: _Put[_A]) -> _Put[_A]:
        def traced(admitted: _A) -> None:
            with self._span("wecom takeover", trace.SpanKind.CONSUMER, admitted.callback.message_id) as span:
                span.set_attribute("wecom.type", admitted.callback.type)
                put(admitted)

        return traced

    def normalize(self, normalize: _Normalize[_A]) -> _Normalize[_A]:
        async def traced(admitted: _A) -> InboundMessage | None:
            with self._span("wecom normalize", trace.SpanKind.INTERNAL, admitted.callback.message_id) as span:
                message = await normalize(admitted)
                span.set_attribute("wecom.outcome", "unsupported" if message is None else "normalized")
                return message

        return traced

    def publish(self, publish: _Publish) -> _Publish:
        async def traced(message: InboundMessage) -> None:
            with self._span("wecom publish", trace.SpanKind.PRODUCER, message.message_id) as span:
                await publish(message)
                span.set_attribute("wecom.outcome", "published")

        return traced

    def deliver(self, send: _Send) -> _Send:
        async def traced(message: OutboundMessage) -> Receipt:
            with self._span("wecom deliver", trace.SpanKind.CLIENT, message.reply_to) as span:
                receipt = await send(message)
                span.set_attribute("wecom.outcome", receipt.outcome)
                span.set_attribute("wecom.attempts", receipt.attempts)
                if receipt.outcome != "delivered":
                    span.set_attribute("wecom.reason", receipt.reason)
                    span.set_status(trace.StatusCode.ERROR)
                return receipt

        return traced

    def _begin(self, name: str, kind: SpanKind, message_id: str | None) -> Span:
        attributes = {"wecom.channel": self._channel}
        if message_id is not None:
            attributes["wecom.trail"] = trail_id(self._channel, message_id)
        try:
            return self._tracer.start_span(name, kind=kind, attributes=attributes)
        except Exception as error:  # noqa: BLE001 - whatever an operator's sampler or processor raises
            self._tell(error)
            return trace.INVALID_SPAN

    def _end(self, span: Span) -> None:
        try:
            span.end()
        except Exception as error:  # noqa: BLE001 - see _begin
            self._tell(error)

    def _end_callback(self, span: Span, outcome: str) -> None:
        span.set_attribute("wecom.outcome", outcome)
        if outcome not in _ACKNOWLEDGED:
            span.set_status(trace.StatusCode.ERROR)
        self._end(span)

    @contextmanager
    def _span(self, name: str, kind: SpanKind, message_id: str | None) -> Iterator[Span]:
        """Make a span current. An error leaves its kind alone: its text may hold what a user wrote."""
        span = self._begin(name, kind, message_id)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                span.set_attribute("wecom.reason", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise
            finally:
                self._end(span)

    def _tell(self, error: Exception) -> None:
        """Say once that spans are lost: it would be the same with every message."""
        if not self._told:
            self._told = True
            logger.error(
                "wecom spans lost", extra={"fields": {"channel": self._channel, "error": type(error).__name__}}
            )


def open_tracing(channel: str, version: str) -> Tracing:
    """Return what gives spans to an SDK that is set up by now, or else nothing to nobody."""
    if not _INSTALLED:
        return Tracing()
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return Tracing()
    return _Spans(channel, provider.get_tracer("maven_channel_wecom", version))
