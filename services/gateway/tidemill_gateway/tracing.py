"""Traces for OpenTelemetry: a span per request, and in it admission, queue and the model's computing.

A batch travels for many requests: the trace of the first goes on to the model's server, and the computing
spans of the others link to its. Needs the extra `otel`; without an address nothing of this is even imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from tidemill_contracts.errors import Corrupt, TidemillError, Unavailable

from tidemill_gateway.plane.lanes import Answer, JobTrace, LaneKey
from tidemill_gateway.plane.versions import Resolved

EXPORT_S_MAX = 2.0
SPANS_WAITING_MAX = 4096
"""Spans that may wait for the collector; beyond it they are dropped."""
EXPORT_EVERY_MS = 1000
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans and sends them, from a thread of its own, to a collector of OTLP over HTTP.

    address: such as ``http://127.0.0.1:4318``. percent: of the requests whose caller did not decide.
    """

    def __init__(self, address: str, percent: float) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(percent / 100)),
            resource=Resource.create({"service.name": "tidemill-gateway"}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=f"{address.rstrip('/')}/v1/traces", timeout=EXPORT_S_MAX)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter, max_queue_size=SPANS_WAITING_MAX, schedule_delay_millis=EXPORT_EVERY_MS
            )
        )
        self._tracer = self._provider.get_tracer("tidemill_gateway")

    def request(self, dialect: str, traceparent: str, tracestate: str) -> RequestSpans:
        """A request came in. traceparent, tracestate: as the caller sent them; may be empty."""
        parent = _PROPAGATOR.extract({"traceparent": traceparent, "tracestate": tracestate}, Context())
        return RequestSpans(self._tracer, dialect, parent)

    def batch_sent(self, key: LaneKey, jobs: Sequence[JobTrace], rows: int) -> BatchSpans:
        """As BatchTracer promises."""
        return BatchSpans(self._tracer, key, [cast(JobSpans, job) for job in jobs], rows)

    def close(self) -> None:
        """Send what waits, if the collector takes it within EXPORT_S_MAX."""
        self._provider.shutdown()


class RequestSpans:
    """The span of one request, and that of its admission: all until it joins a lane."""

    def __init__(self, tracer: Tracer, dialect: str, parent: Context) -> None:
        self._tracer = tracer
        self._span = tracer.start_span(
            "predict", parent, SpanKind.SERVER, attributes={"tidemill.dialect": dialect}
        )
        self._context = trace.set_span_in_context(self._span, parent)
        self._admission: Span | None = tracer.start_span("admission", self._context)

    def queued(self) -> JobSpans:
        """As RequestTrace promises."""
        self._admitted()
        return JobSpans(self._tracer, self._context)

    def answered(self, resolved: Resolved, answer: Answer) -> None:
        """Say who answered."""
        self._span.set_attributes(
            {
                "tidemill.model": resolved.model,
                "tidemill.version": resolved.version,
                "tidemill.label": resolved.label,
                "tidemill.batch_rows": answer.batch_rows,
                "tidemill.cached": answer.cached,
            }
        )

    def failed(self, error: TidemillError) -> None:
        """Say why not. What the caller did wrong is no failure of ours."""
        self._span.set_attribute("error.type", type(error).__name__)
        if isinstance(error, Unavailable | Corrupt):
            self._span.set_status(Status(StatusCode.ERROR, str(error)))

    def end(self) -> None:
        """The request is over."""
        self._admitted()
        self._span.end()

    def _admitted(self) -> None:
        if self._admission is not None:
            self._admission.end()
            self._admission = None


class JobSpans:
    """The wait in a lane. context: of the request's own span."""

    def __init__(self, tracer: Tracer, context: Context) -> None:
        self.context = context
        self._queue: Span | None = tracer.start_span("queue", context)

    def left(self) -> None:
        """As JobTrace promises."""
        if self._queue is not None:
            self._queue.end()
            self._queue = None


class BatchSpans:
    """The computing of one batch, in every trace that takes part in it."""

    def __init__(self, tracer: Tracer, key: LaneKey, jobs: list[JobSpans], rows: int) -> None:
        attributes: dict[str, AttributeValue] = {
            "tidemill.model": key.model,
            "tidemill.version": key.version,
            "tidemill.signature": key.signature,
            "tidemill.batch_rows": rows,
        }
        self._spans: list[Span] = []
        for job in jobs:
            job.left()
            links = [Link(self._spans[0].get_span_context())] if self._spans else None
            self._spans.append(tracer.start_span("compute", job.context, SpanKind.CLIENT, attributes, links))
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._spans[0], Context()))
        self.headers = tuple(carrier.items())

    def ended(self, error: str) -> None:
        """As BatchTrace promises."""
        for span in self._spans:
            if error:
                span.set_status(Status(StatusCode.ERROR, error))
            span.end()
