"""TensorFlow Serving's gRPC API at the gateway: predictions through the batcher, the rest handed on.

What is handed on unread: metadata, status, classify, regress and the multi-headed form of both. A reload of
the configuration is refused: that is the serving agent's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from tidemill_chassis.logs import get_logger
from tidemill_chassis.settings import Address
from tidemill_contracts.errors import Corrupt, TidemillError, Unavailable

from tidemill_gateway.access import PREDICT, Access
from tidemill_gateway.dialects.grpc_predict import GrpcPredictCall, code_of
from tidemill_gateway.errors import Unsupported
from tidemill_gateway.handlers import Plane, predict
from tidemill_gateway.metrics import RequestMetrics
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.serving_client import ServingClient
from tidemill_gateway.plane.versions import Resolved
from tidemill_gateway.rate_limits import RateLimits
from tidemill_gateway.settings import Tls
from tidemill_gateway.wire import methods

log = get_logger(__name__)

DIALECT = "grpc"
STICKY_KEY = "x-tidemill-sticky"
CONCURRENT_MAX = 4096
Handler = Callable[[bytes, Any], Awaitable[bytes]]

_HANDED_ON = (
    methods.GET_MODEL_METADATA,
    methods.GET_MODEL_STATUS,
    methods.CLASSIFY,
    methods.REGRESS,
    methods.MULTI_INFERENCE,
)


class GrpcFront:
    """One per gateway; belongs to its event loop."""

    def __init__(
        self,
        plane: Plane,
        client: ServingClient,
        access: Access,
        rates: RateLimits | None,
        *,
        request_s_max: float,
        message_bytes_max: int,
    ) -> None:
        self._plane = plane
        self._access = access
        self._rates = rates
        self._client = client
        self._request_s_max = request_s_max
        self._metrics = RequestMetrics(DIALECT)
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", message_bytes_max),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=CONCURRENT_MAX,
        )
        handlers: dict[str, Handler] = {methods.PREDICT: self._predict, methods.RELOAD_CONFIG: self._refuse}
        handlers.update({method: self._hand_on(method) for method in _HANDED_ON})
        self._server.add_generic_rpc_handlers(_by_service(handlers))

    async def start(self, bind: Address, tls: Tls | None) -> int:
        """Listen; the port.

        Raises:
            RuntimeError: the address is taken.
        """
        if tls is None:
            port: int = self._server.add_insecure_port(str(bind))
        else:
            pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
            port = self._server.add_secure_port(str(bind), grpc.ssl_server_credentials([pair]))
        await self._server.start()
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those under way have `grace_s`."""
        await self._server.stop(grace_s)

    async def _predict(self, data: bytes, context: Any) -> bytes:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            metadata = await self._admitted(context)
            call = GrpcPredictCall(data)
            target = call.target(metadata.get(STICKY_KEY, ""))
            resolved, answer = await predict(self._plane, target, call, self._timeout_s(context))
            reply = call.render(resolved, answer)
        except TidemillError as error:
            self._metrics.refused(error)
            await _abort(context, error)
            raise
        context.set_trailing_metadata(_truth(resolved, answer))
        self._metrics.answered(resolved, call.signature_name, loop.time() - started_s)
        return reply

    def _hand_on(self, method: str) -> Handler:
        async def hand_on(data: bytes, context: Any) -> bytes:
            try:
                await self._admitted(context)
                return await self._client.call(method, data, self._timeout_s(context))
            except TidemillError as error:
                await _abort(context, error)
                raise

        return hand_on

    async def _refuse(self, data: bytes, context: Any) -> bytes:
        error = Unsupported("the gateway takes no configuration: the serving agent declares what is served")
        await _abort(context, error)
        raise error

    async def _admitted(self, context: Any) -> dict[str, str]:
        """The call's metadata; raises as Access.check and RateLimits.take do."""
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        shown = metadata.get("authorization", ""), metadata.get("x-api-key", "")
        name = self._access.check(*shown, PREDICT)
        if self._rates is not None:
            await self._rates.take(name)
        return metadata

    def _timeout_s(self, context: Any) -> float:
        left_s: float | None = context.time_remaining()
        return self._request_s_max if left_s is None else min(left_s, self._request_s_max)


async def _abort(context: Any, error: TidemillError) -> None:
    if isinstance(error, Corrupt):
        log.error("prediction_failed", error=error)
    metadata: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Unavailable) and error.retry_after_s is not None:
        metadata = (("retry-after", f"{error.retry_after_s:.3f}"),)
    await context.abort(code_of(error), str(error), metadata)


def _by_service(handlers: dict[str, Handler]) -> tuple[Any, ...]:
    services: dict[str, dict[str, Any]] = {}
    for path, handler in handlers.items():
        _, service, method = path.split("/")
        services.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(handler)
    return tuple(grpc.method_handlers_generic_handler(name, own) for name, own in services.items())


def _truth(resolved: Resolved, answer: Answer) -> tuple[tuple[str, str], ...]:
    """Who answered, in which company and how fast: the headers of HTTP as trailing metadata."""
    return (
        ("x-tidemill-model-version", str(resolved.version)),
        ("x-tidemill-model-label", resolved.label),
        ("x-tidemill-batch-rows", str(answer.batch_rows)),
        ("x-tidemill-queue-ms", f"{answer.queue_s * 1000:.3f}"),
        ("x-tidemill-compute-ms", f"{answer.compute_s * 1000:.3f}"),
    )
