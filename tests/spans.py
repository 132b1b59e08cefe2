"""An OpenTelemetry SDK for the whole test run, configured as an operator would, which keeps the spans that ended."""

from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SPANS: Final = InMemorySpanExporter()

_provider = TracerProvider()
_provider.add_span_processor(SimpleSpanProcessor(SPANS))
trace.set_tracer_provider(_provider)


def parents(spans: InMemorySpanExporter) -> dict[str, str | None]:
    """Return the name of each span with the name of its parent."""
    names = {span.context.span_id: span.name for span in spans.get_finished_spans()}
    return {span.name: names[span.parent.span_id] if span.parent else None for span in spans.get_finished_spans()}
