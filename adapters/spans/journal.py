"""The domain's journal, as spans. A batch leaves in a thread of OpenTelemetry's; what finds no room there is dropped.

OpenTelemetry's packages are loaded here alone, and only where traces are told.
"""

import asyncio
import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from adapters.spans.drawing import Drawn, drawn
from domain.facts import Fact
from domain.ports import Clock
from domain.spans import Span

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
#: Seconds that a collector has for a batch, and for what is left at the end.
_PATIENCE = 5.0


class TracingJournal:
    """Tells the spans of facts to the collector at ``url``, OTLP over HTTP.

    ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_EXPORTER_OTLP_HEADERS`` and the settings of
    OpenTelemetry's batches are heeded as everywhere.
    """

    def __init__(self, url: str, version: str, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._resource = _resource(version)
        self._scope = InstrumentationScope("sluice", version)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(url, timeout=_PATIENCE))

    def record(self, fact: Fact) -> None:
        told = drawn(fact)
        if told is not None:
            self._processor.on_end(self._finished(told, self._clock()))

    async def aclose(self) -> None:
        """Tell what was not told yet, for some seconds at most."""
        await asyncio.to_thread(self._processor.force_flush, int(_PATIENCE * 1000))
        await asyncio.to_thread(self._processor.shutdown)

    def _finished(self, told: Drawn, now: float) -> ReadableSpan:
        end = int(now * 1e9)
        parent = _context(told.span, told.span.parent_id) if told.span.parent_id is not None else None
        return ReadableSpan(
            told.name,
            context=_context(told.span, told.span.id),
            parent=parent,
            resource=self._resource,
            attributes=told.attributes,
            kind=_KINDS[told.kind],
            status=Status(StatusCode.ERROR, told.error) if told.error is not None else Status(),
            start_time=end - int(told.seconds * 1e9),
            end_time=end,
            instrumentation_scope=self._scope,
        )


def _resource(version: str) -> Resource:
    """What the environment says of this process; it has a name where that gives it none."""
    created = Resource.create({"service.version": version})
    unnamed = str(created.attributes[SERVICE_NAME]).startswith("unknown_service")
    return created.merge(Resource({SERVICE_NAME: "sluice"})) if unnamed else created


def _context(span: Span, span_id: str) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if span.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)
