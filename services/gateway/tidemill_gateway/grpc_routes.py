"""What each gRPC call of TensorFlow Serving is answered with here.

Predict, classify and regress go through the batcher. Metadata, status, and several signatures at once are
handed on to the version that would answer here. A reload of the configuration is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Protocol

from tidemill_chassis.logs import get_logger
from tidemill_chassis.rpc.codes import CallFailed, Metadata
from tidemill_chassis.rpc.loop_server import Handler
from tidemill_chassis.rpc.serving_side import Call as Asked
from tidemill_contracts.errors import Corrupt, Malformed, TidemillError, Unavailable

from tidemill_gateway.access import PREDICT, Access
from tidemill_gateway.dialects.grpc_handed_on import SPECS, resolved_request
from tidemill_gateway.dialects.grpc_inference import GrpcClassifyCall, GrpcRegressCall
from tidemill_gateway.dialects.grpc_predict import GrpcPredictCall, code_of, text_of
from tidemill_gateway.errors import NoSignature, Unsupported
from tidemill_gateway.handlers import Plane, predict
from tidemill_gateway.metrics import RequestMetrics
from tidemill_gateway.plane.calls import Call
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.serving_client import ServingClient
from tidemill_gateway.plane.versions import Resolved, Target
from tidemill_gateway.prediction_log import PredictionLog
from tidemill_gateway.rate_limits import RateLimits
from tidemill_gateway.request_traces import RequestTraces, Spans
from tidemill_gateway.wire import methods

log = get_logger(__name__)

DIALECT = "grpc"
STICKY_KEY = "x-tidemill-sticky"
Answered = tuple[bytes, Metadata]

_CALLS: dict[str, Callable[[bytes], GrpcCall]] = {
    methods.PREDICT: GrpcPredictCall,
    methods.CLASSIFY: GrpcClassifyCall,
    methods.REGRESS: GrpcRegressCall,
}


class GrpcCall(Call, Protocol):
    """A request that was read, and that knows how its answer is said."""

    def target(self, sticky: str = "") -> Target:
        """Whom it asks; raises Malformed if nobody."""
        ...

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The response."""
        ...

    def as_json(self, reply: bytes) -> tuple[Any, Any]:
        """Request and response as JSON values, for the log."""
        ...


class GrpcRoutes:
    """The handlers, by the method's full name; traces, prediction_log: None where there are none."""

    def __init__(
        self,
        plane: Plane,
        client: ServingClient,
        access: Access,
        rates: RateLimits | None,
        traces: RequestTraces | None,
        prediction_log: PredictionLog | None,
        *,
        request_s_max: float,
    ) -> None:
        self._plane = plane
        self._client = client
        self._access = access
        self._rates = rates
        self._traces = traces
        self._log = prediction_log
        self._request_s_max = request_s_max
        self._metrics = RequestMetrics(DIALECT)

    def handlers(self) -> dict[str, Handler]:
        """See `LoopServer`."""
        handlers: dict[str, Handler] = {method: self._answer(kind) for method, kind in _CALLS.items()}
        handlers.update({method: self._hand_on(method) for method in SPECS})
        handlers[methods.RELOAD_CONFIG] = self._refuse
        return handlers

    def _answer(self, kind: Callable[[bytes], GrpcCall]) -> Handler:
        async def answer(asked: Asked) -> Answered:
            if self._traces is None:
                return await self._predict(kind, asked, None)
            metadata = dict(asked.metadata)
            parent, state = metadata.get("traceparent", ""), metadata.get("tracestate", "")
            spans = self._traces.request(DIALECT, str(parent), str(state))
            try:
                return await self._predict(kind, asked, spans)
            finally:
                spans.end()

        return answer

    async def _predict(
        self, kind: Callable[[bytes], GrpcCall], asked: Asked, spans: Spans | None
    ) -> Answered:
        started_s = monotonic()
        try:
            metadata = await self._admitted(asked)
            call = kind(asked.message)
            target = call.target(metadata.get(STICKY_KEY, ""))
            caller = asked.connection.peer
            resolved, answer = await predict(
                self._plane, target, call, self._timeout_s(asked), spans, caller=caller
            )
            reply = call.render(resolved, answer)
        except TidemillError as error:
            self._metrics.refused(error)
            if spans is not None:
                spans.failed(error)
            if isinstance(error, NoSignature) and kind is not GrpcPredictCall:
                # TensorFlow Serving has another code and other words for it here than in Predict.
                error = Malformed(f"No signature was found with the name: {error.name}")
            raise _refusal(error) from error
        except asyncio.CancelledError:
            self._metrics.left()
            raise
        self._metrics.answered(resolved, call.signature_name, monotonic() - started_s)
        if spans is not None:
            spans.answered(resolved, answer)
        if self._log is not None:
            self._log.offer(
                asked.message,
                reply,
                partial(call.as_json, reply),
                model=resolved.model,
                version=resolved.version,
                label=resolved.label,
                signature=call.signature_name,
                dialect=DIALECT,
                batch_rows=answer.batch_rows,
                queue_ms=answer.queue_s * 1000,
                compute_ms=answer.compute_s * 1000,
            )
        return reply, _truth(resolved, answer)

    def _hand_on(self, method: str) -> Handler:
        async def hand_on(asked: Asked) -> Answered:
            try:
                metadata = await self._admitted(asked)
                sticky = metadata.get(STICKY_KEY, "")
                request = await resolved_request(self._plane.versions, method, asked.message, sticky)
                return await self._client.call(method, request, self._timeout_s(asked)), ()
            except TidemillError as error:
                self._metrics.refused(error)
                raise _refusal(error) from error

        return hand_on

    async def _refuse(self, asked: Asked) -> Answered:
        error = Unsupported("the gateway takes no configuration: the serving agent declares what is served")
        raise _refusal(error)

    async def _admitted(self, asked: Asked) -> dict[str, str]:
        """The call's metadata; raises as Access.check and RateLimits.take do."""
        metadata = {key: str(value) for key, value in asked.metadata}
        shown = metadata.get("authorization", ""), metadata.get("x-api-key", "")
        name = self._access.check(*shown, PREDICT)
        if self._rates is not None:
            await self._rates.take(name)
        return metadata

    def _timeout_s(self, asked: Asked) -> float:
        if asked.deadline_s is None:
            return self._request_s_max
        return min(asked.deadline_s - monotonic(), self._request_s_max)


def _refusal(error: TidemillError) -> CallFailed:
    if isinstance(error, Corrupt):
        log.error("prediction_failed", error=error)
    metadata: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Unavailable) and error.retry_after_s is not None:
        metadata = (("retry-after", f"{error.retry_after_s:.3f}"),)
    return CallFailed(code_of(error), text_of(error), metadata)


def _truth(resolved: Resolved, answer: Answer) -> tuple[tuple[str, str], ...]:
    """Who answered, in which company and how fast: the headers of HTTP as trailing metadata."""
    truth = (
        ("x-tidemill-model", resolved.model),
        ("x-tidemill-model-version", str(resolved.version)),
        ("x-tidemill-model-label", resolved.label),
        ("x-tidemill-batch-rows", str(answer.batch_rows)),
        ("x-tidemill-queue-ms", f"{answer.queue_s * 1000:.3f}"),
        ("x-tidemill-compute-ms", f"{answer.compute_s * 1000:.3f}"),
    )
    return (*truth, ("x-tidemill-cache", "hit")) if answer.cached else truth
