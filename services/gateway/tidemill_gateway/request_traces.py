"""What the fronts tell of the requests they trace; `tracing.py` makes OpenTelemetry's spans of it."""

from __future__ import annotations

from typing import Protocol

from tidemill_contracts.errors import TidemillError

from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.traces import BatchTracer, RequestTrace
from tidemill_gateway.plane.versions import Resolved


class Spans(RequestTrace, Protocol):
    """One request, from the door to the answer."""

    def answered(self, resolved: Resolved, answer: Answer) -> None:
        """It was answered with predictions."""
        ...

    def failed(self, error: TidemillError) -> None:
        """It was refused, or failed."""
        ...

    def end(self) -> None:
        """It is over, however."""
        ...


class RequestTraces(BatchTracer, Protocol):
    """Begins traces, or goes on with the callers'."""

    def request(self, dialect: str, traceparent: str, tracestate: str) -> Spans:
        """A request came in. traceparent, tracestate: as the caller sent them (W3C); may be empty."""
        ...

    def close(self) -> None:
        """Send what waits, within a bound."""
        ...
