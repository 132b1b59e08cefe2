"""Spans of a message's steps, if an OpenTelemetry SDK is configured.

No span holds a user, a chat, a text or a URL; its `wecom.trail` is the log's. What a sampler or a span processor of the
operator raises costs spans and no message.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, get_args

from maven_channel_wecom.telemetry import events
from maven_channel_wecom.telemetry.trail import trail_id

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
except ImportError:
    _INSTALLED = False
else:
    _INSTALLED = True

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from opentelemetry.trace import Span, SpanKind, Tracer

    from maven_channel_wecom.contract.messages import InboundMessage, OutboundMessage, Receipt

    class _Callback(Protocol):
        @property
        def message_id(self) -> str: ...

    class _Admitted(Protocol):
        @property
        def callback(self) -> _Callback: ...

    _A = TypeVar("_A", bound=_Admitted)
    _Normalize = Callable[[_A], Awaitable[InboundMessage | None]]
    _Publish = Callable[[InboundMessage], Awaitable[None]]
    _Deliver = Callable[[OutboundMessage], Awaitable[Receipt]]

logger = logging.getLogger(__name__)

MAX_ROOTS: Final = 10_000
"""How many messages in progress have their root span remembered. Lower: with a larger `inboxLimit` the steps of some
messages become traces of their own. Higher: more memory, about a kilobyte each."""

_MESSAGE_TYPES: Final = get_args(events.MessageType)
# Somebody who can sign may send any text as a type.
_TYPES: Final = frozenset({*_MESSAGE_TYPES, "event", "stream"})
_ACKNOWLEDGED: Final = frozenset({"accepted", "duplicate", "refused"})


class Tracing:
    """Wraps each step of a channel in a span. This one is the no-op: it returns every step as it is."""

    def normalize(self, step: _Normalize[_A]) -> _Normalize[_A]:
        """Wrap the step from an admitted callback to a message, media included."""
        return step

    def publish(self, step: _Publish) -> _Publish:
        """Wrap the step that hands a message to the host. Its span is current while the host works on the message."""
        return step

    def deliver(self, step: _Deliver) -> _Deliver:
        """Wrap the step from an answer to a receipt."""
        return step


class SpanTracing(Tracing):
    """Makes one trace for each message: a root span from its events, a child span for each step.

    The steps run in tasks that know nothing of the callback's, so the root is remembered until the message ends.

    Args:
        channel: the attribute `wecom.channel`.
        tracer: makes the spans.
        listen: registers a listener for one class of events.
    """

    def __init__(self, channel: str, tracer: Tracer, listen: events.Listen) -> None:
        self._channel = channel
        self._tracer = tracer
        self._reported = False
        self._roots: dict[str, Context] = {}
        listen(events.CallbackAnswered, self._callback_answered)
        listen(events.MessageRecovered, self._message_recovered)
        listen(events.MessageEnded, lambda event: self._roots.pop(event.message_id, None))

    def normalize(self, step: _Normalize[_A]) -> _Normalize[_A]:
        async def traced(admitted: _A) -> InboundMessage | None:
            message_id = admitted.callback.message_id
            root = self._roots.get(message_id)
            with self._span("wecom normalize", trace.SpanKind.INTERNAL, message_id, root) as span:
                message = await step(admitted)
                span.set_attribute("wecom.outcome", "unsupported" if message is None else "normalized")
                return message

        return traced

    def publish(self, step: _Publish) -> _Publish:
        async def traced(message: InboundMessage) -> None:
            root = self._roots.get(message.message_id)
            with self._span("wecom publish", trace.SpanKind.PRODUCER, message.message_id, root) as span:
                await step(message)
                span.set_attribute("wecom.outcome", "published")

        return traced

    def deliver(self, step: _Deliver) -> _Deliver:
        async def traced(message: OutboundMessage) -> Receipt:
            # Usually the host answers while it works on the message: then the span of `publish` is current.
            is_inside = trace.get_current_span().get_span_context().is_valid
            parent = None if is_inside or message.reply_to is None else self._roots.get(message.reply_to)
            with self._span("wecom deliver", trace.SpanKind.CLIENT, message.reply_to, parent) as span:
                receipt = await step(message)
                span.set_attribute("wecom.outcome", receipt.outcome)
                span.set_attribute("wecom.attempts", receipt.attempts)
                if receipt.outcome != "delivered":
                    span.set_attribute("wecom.reason", receipt.reason)
                    span.set_status(trace.StatusCode.ERROR)
                return receipt

        return traced

    def _callback_answered(self, event: events.CallbackAnswered) -> None:
        started = _nanoseconds(event.started_at)
        span = self._start("wecom callback", trace.SpanKind.SERVER, event.message_id, Context(), started)
        span.set_attribute("wecom.type", event.type if event.type in _TYPES else "unknown")
        span.set_attribute("wecom.outcome", event.outcome)
        if event.outcome not in _ACKNOWLEDGED:
            span.set_status(trace.StatusCode.ERROR)
        self._end(span, _nanoseconds(event.answered_at))
        if event.outcome == "accepted" and event.type in _MESSAGE_TYPES:
            self._remember(event.message_id, span)

    def _message_recovered(self, event: events.MessageRecovered) -> None:
        span = self._start("wecom takeover", trace.SpanKind.CONSUMER, event.message_id, Context())
        span.set_attribute("wecom.type", event.type)
        self._end(span)
        self._remember(event.message_id, span)

    def _remember(self, message_id: str, root: Span) -> None:
        self._roots[message_id] = trace.set_span_in_context(root, Context())
        if len(self._roots) > MAX_ROOTS:
            del self._roots[next(iter(self._roots))]

    @contextmanager
    def _span(self, name: str, kind: SpanKind, message_id: str | None, parent: Context | None) -> Iterator[Span]:
        """Make a span current: a child of what `parent` holds, of the current one if it is None.

        After an error it has the name of the error's class alone, as the text may hold what a user wrote.
        """
        span = self._start(name, kind, message_id, parent)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                span.set_attribute("wecom.reason", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise
            finally:
                self._end(span)

    def _start(
        self, name: str, kind: SpanKind, message_id: str | None, parent: Context | None, at: int | None = None
    ) -> Span:
        attributes = {"wecom.channel": self._channel}
        if message_id is not None:
            attributes["wecom.trail"] = trail_id(self._channel, message_id)
        try:
            return self._tracer.start_span(name, parent, kind, attributes, start_time=at)
        except Exception as error:  # noqa: BLE001 - whatever an operator's sampler or span processor raises
            self._report(error)
            return trace.INVALID_SPAN

    def _end(self, span: Span, at: int | None = None) -> None:
        try:
            span.end(at)
        except Exception as error:  # noqa: BLE001 - see _start
            self._report(error)

    def _report(self, error: Exception) -> None:
        """Log once that spans are lost: it would be the same with every message."""
        if not self._reported:
            self._reported = True
            fields = {"channel": self._channel, "error": type(error).__name__}
            logger.error("wecom spans lost", extra={"fields": fields})


def open_tracing(channel: str, version: str, listen: events.Listen) -> Tracing:
    """Return a Tracing that makes spans if an OpenTelemetry SDK is configured, otherwise a no-op."""
    if not _INSTALLED:
        return Tracing()
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return Tracing()
    return SpanTracing(channel, provider.get_tracer("maven_channel_wecom", version), listen)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
