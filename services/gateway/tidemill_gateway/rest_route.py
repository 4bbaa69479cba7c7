"""The hot route: a prediction in any REST dialect, straight from the connection."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from functools import lru_cache
from time import monotonic

from tidemill_chassis.logs import get_logger
from tidemill_chassis.web import RETRY_AFTER_S
from tidemill_contracts.errors import Corrupt, Malformed, TidemillError, Unavailable

from tidemill_gateway.dialects.json_documents import HEAVY_BYTES
from tidemill_gateway.dialects.rest import RestDialect
from tidemill_gateway.handlers import Plane, predict
from tidemill_gateway.metrics import RequestMetrics
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.versions import Resolved
from tidemill_gateway.prediction_log import PredictionLog
from tidemill_gateway.request_traces import RequestTraces, Spans
from tidemill_gateway.server.messages import Request, Response

log = get_logger(__name__)

TIMEOUT_HEADER = b"x-request-timeout"
STICKY_HEADER = b"x-tidemill-sticky"
STICKY_BYTES_MAX = 256
WHO_CACHED_MAX = 1024
"""Versions whose header lines are kept ready."""


class RestRoute:
    """request_s_max: how long a request may take that asks for no shorter time.

    traces: None where nobody traces.
    """

    def __init__(
        self,
        dialect: RestDialect,
        plane: Plane,
        *,
        request_s_max: float,
        prediction_log: PredictionLog | None = None,
        traces: RequestTraces | None = None,
    ) -> None:
        self.path = dialect.path
        self._dialect = dialect
        self._log = prediction_log
        self._plane = plane
        self._request_s_max = request_s_max
        self._metrics = RequestMetrics(dialect.name)
        self._traces = traces

    async def __call__(self, request: Request, match: re.Match[bytes]) -> Response:
        """The answer to a request whose target matched the path; every error has become a response."""
        if self._traces is None:
            return await self._answer(request, match, None)
        spans = self._traces.request(
            self._dialect.name,
            request.header(b"traceparent").decode("latin-1"),
            request.header(b"tracestate").decode("latin-1"),
        )
        try:
            return await self._answer(request, match, spans)
        finally:
            spans.end()

    async def _answer(self, request: Request, match: re.Match[bytes], spans: Spans | None) -> Response:
        started_s = monotonic()
        body = request.body
        try:
            if len(body) > HEAVY_BYTES:
                loop = asyncio.get_running_loop()
                target, call = await loop.run_in_executor(
                    self._plane.executor, self._dialect.read, match, body
                )
            else:
                target, call = self._dialect.read(match, body)
            sticky = request.header(STICKY_HEADER)
            if sticky:
                target = replace(target, sticky=sticky[:STICKY_BYTES_MAX].decode("latin-1"))
            timeout_s = self._timeout_s(request)
            caller = request.connection
            resolved, answer = await predict(self._plane, target, call, timeout_s, spans, caller=caller)
            said = call.render(resolved, answer)
        except TidemillError as error:
            if spans is not None:
                spans.failed(error)
            return self._failed(error)
        except asyncio.CancelledError:
            self._metrics.left()
            raise
        self._metrics.answered(resolved, call.signature_name, monotonic() - started_s)
        if spans is not None:
            spans.answered(resolved, answer)
        if self._log is not None:
            self._log.offer(
                body,
                said,
                model=resolved.model,
                version=resolved.version,
                label=resolved.label,
                signature=call.signature_name,
                dialect=self._dialect.name,
                batch_rows=answer.batch_rows,
                queue_ms=answer.queue_s * 1000,
                compute_ms=answer.compute_s * 1000,
            )
        return Response(200, said, lines=_truth(resolved, answer))

    def _timeout_s(self, request: Request) -> float:
        asked = request.header(TIMEOUT_HEADER)
        if not asked:
            return self._request_s_max
        try:
            seconds = float(asked)
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            raise Malformed("X-Request-Timeout must be a number of seconds above 0, such as 1.5")
        return min(seconds, self._request_s_max)

    def _failed(self, error: TidemillError) -> Response:
        status, body = self._dialect.render_error(error)
        self._metrics.refused(error)
        if isinstance(error, Corrupt):
            log.error("prediction_failed", error=error)
        return Response(status, body, headers=retry_after(error))


def retry_after(error: TidemillError) -> tuple[tuple[bytes, bytes], ...]:
    """When to come back, for errors that pass."""
    if not isinstance(error, Unavailable):
        return ()
    wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return ((b"Retry-After", b"%d" % max(1, math.ceil(wait_s))),)


def _truth(resolved: Resolved, answer: Answer) -> bytes:
    """Who answered, in which company and how fast, as header lines."""
    return (
        b"%bX-Tidemill-Batch-Rows: %d\r\nX-Tidemill-Queue-Ms: %.3f\r\nX-Tidemill-Compute-Ms: %.3f\r\n%b"
        % (
            _who(resolved),
            answer.batch_rows,
            answer.queue_s * 1000,
            answer.compute_s * 1000,
            b"X-Tidemill-Cache: hit\r\n" if answer.cached else b"",
        )
    )


@lru_cache(maxsize=WHO_CACHED_MAX)
def _who(resolved: Resolved) -> bytes:
    return b"X-Tidemill-Model: %b\r\nX-Tidemill-Model-Version: %d\r\nX-Tidemill-Model-Label: %b\r\n" % (
        resolved.model.encode("utf-8"),
        resolved.version,
        resolved.label.encode("ascii"),
    )
