"""Spans for the operations on a message, if an OpenTelemetry SDK is configured.

No span holds a user, a chat, a text or a URL; the attribute `wecom.trail` is the trail of the log. An exception from
the operator's sampler or span processor loses spans, but does not affect the message.
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
"""Maximum number of root spans kept for messages in progress. Lower: with a larger `inboxLimit`, spans of some messages
start new traces. Higher: more memory, about a kilobyte each."""

_MESSAGE_TYPES: Final = get_args(events.MessageType)
# A client that can sign callbacks may send any text as a type.
_TYPES: Final = frozenset({*_MESSAGE_TYPES, "event", "stream"})
_ACKNOWLEDGED: Final = frozenset({"accepted", "duplicate", "refused"})


class Tracing:
    """Wraps the operations of a channel in spans. This base class is a no-op and returns each function unchanged."""

    def normalize(self, function: _Normalize[_A]) -> _Normalize[_A]:
        """Wrap the function that turns an admitted callback into a message, including its media."""
        return function

    def publish(self, function: _Publish) -> _Publish:
        """Wrap the function that publishes a message to the host. Its span is current while the host handles it."""
        return function

    def deliver(self, function: _Deliver) -> _Deliver:
        """Wrap the function that delivers an answer and returns its receipt."""
        return function


class SpanTracing(Tracing):
    """Creates one trace per message: a root span from its events, and a child span for each operation.

    The operations run in tasks that do not inherit the context of the callback, so the root span is kept until the
    message ends.

    Args:
        channel: the value of the attribute `wecom.channel`.
        tracer: creates the spans.
        listen: registers a listener for one class of events.
    """

    def __init__(self, channel: str, tracer: Tracer, listen: events.Listen) -> None:
        self._channel = channel
        self._tracer = tracer
        self._failure_logged = False
        self._roots: dict[str, Context] = {}
        listen(events.CallbackAnswered, self._callback_answered)
        listen(events.MessageRecovered, self._message_recovered)
        listen(events.MessageEnded, lambda event: self._roots.pop(event.message_id, None))

    def normalize(self, function: _Normalize[_A]) -> _Normalize[_A]:
        async def traced(admitted: _A) -> InboundMessage | None:
            message_id = admitted.callback.message_id
            root = self._roots.get(message_id)
            with self._span("wecom normalize", trace.SpanKind.INTERNAL, message_id, root) as span:
                message = await function(admitted)
                span.set_attribute("wecom.outcome", "unsupported" if message is None else "normalized")
                return message

        return traced

    def publish(self, function: _Publish) -> _Publish:
        async def traced(message: InboundMessage) -> None:
            root = self._roots.get(message.message_id)
            with self._span("wecom publish", trace.SpanKind.PRODUCER, message.message_id, root) as span:
                await function(message)
                span.set_attribute("wecom.outcome", "published")

        return traced

    def deliver(self, function: _Deliver) -> _Deliver:
        async def traced(message: OutboundMessage) -> Receipt:
            # If the host answers while it handles the message, as is usual, the span of `publish` is current.
            has_current_span = trace.get_current_span().get_span_context().is_valid
            parent = None if has_current_span or message.reply_to is None else self._roots.get(message.reply_to)
            with self._span("wecom deliver", trace.SpanKind.CLIENT, message.reply_to, parent) as span:
                receipt = await function(message)
                span.set_attribute("wecom.outcome", receipt.outcome)
                span.set_attribute("wecom.attempts", receipt.attempts)
                if receipt.outcome != "delivered" and receipt.reason != "silent":
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
            self._add_root(event.message_id, span)

    def _message_recovered(self, event: events.MessageRecovered) -> None:
        span = self._start("wecom takeover", trace.SpanKind.CONSUMER, event.message_id, Context())
        span.set_attribute("wecom.type", event.type)
        self._end(span)
        self._add_root(event.message_id, span)

    def _add_root(self, message_id: str, root: Span) -> None:
        self._roots[message_id] = trace.set_span_in_context(root, Context())
        if len(self._roots) > MAX_ROOTS:
            del self._roots[next(iter(self._roots))]

    @contextmanager
    def _span(self, name: str, kind: SpanKind, message_id: str | None, parent: Context | None) -> Iterator[Span]:
        """Start a span as a child of `parent`, or of the current context if it is None, and make it current.

        Of an exception only the class name is recorded, because its message may contain a user's text.
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
        except Exception as error:  # noqa: BLE001 - an operator's sampler or span processor may raise anything
            self._log_failure(error)
            return trace.INVALID_SPAN

    def _end(self, span: Span, at: int | None = None) -> None:
        try:
            span.end(at)
        except Exception as error:  # noqa: BLE001 - see _start
            self._log_failure(error)

    def _log_failure(self, error: Exception) -> None:
        """Log once that spans are lost, as the error would recur with every message."""
        if not self._failure_logged:
            self._failure_logged = True
            fields = {"channel": self._channel, "error": type(error).__name__}
            logger.error("wecom spans lost", extra={"fields": fields})


def open_tracing(channel: str, version: str, listen: events.Listen) -> Tracing:
    """Return a Tracing that creates spans if an OpenTelemetry SDK is configured, otherwise a no-op."""
    if not _INSTALLED:
        return Tracing()
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return Tracing()
    return SpanTracing(channel, provider.get_tracer("maven_channel_wecom", version), listen)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
