"""The gRPC services: each call is handed to its function, each StatusError becomes a gRPC status."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NoReturn, TypeVar

import grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.core import RELOAD_WAIT_S_MAX, Core
from tidemill_serving.engine.deadlines import deadline_in, left_s
from tidemill_serving.engine.inference import classify, multi_inference, regress
from tidemill_serving.engine.metadata import model_metadata, model_status
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.model_config import from_proto
from tidemill_serving.engine.predict import predict
from tidemill_serving.engine.status import Code, StatusError, from_exception, invalid_argument

log = get_logger(__name__)

Response = TypeVar("Response")
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}
MESSAGE_LENGTH_MAX = 4096
"""Error texts go out as HTTP/2 trailers, which clients bound; longer ones are cut."""

WAIT_S_MAX = 86_400.0
"""A deadline that lies further ahead is none."""


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """tensorflow.serving.PredictionService.

    closing: once set, calls that come are told UNAVAILABLE, and clients try elsewhere. gRPC itself would tell
    them CANCELLED as soon as the server shuts down, which clients do not.
    """

    def __init__(self, core: Core, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics
        self.closing = False

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._measured(predict, "Predict", request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._measured(classify, "Classify", request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._measured(regress, "Regress", request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._measured(multi_inference, "MultiInference", request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _answer(context, lambda _: model_metadata(self._core, request))

    def _measured(
        self, function: Callable[..., Any], api: str, request: Any, context: grpc.ServicerContext
    ) -> Any:
        if self.closing:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        started_s = perf_counter()
        status = "OK"

        def failed(error: StatusError) -> None:
            nonlocal status
            status = error.code.name

        try:
            return _answer(
                context, lambda deadline_s: function(self._core, request, deadline_s=deadline_s), failed
            )
        finally:
            self._metrics.observe(_model(request), status, api, "GRPC", perf_counter() - started_s)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """tensorflow.serving.ModelService."""

    def __init__(self, core: Core, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _answer(context, lambda _: model_status(self._core, request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _answer(context, lambda deadline_s: self._reload(request, deadline_s))

    def _reload(self, request: Any, deadline_s: float | None) -> Any:
        """The answer says by how much the metrics rose that the request names; 0 for unknown ones."""
        before = {name: self._metrics.total(name) for name in request.metric_names}
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest."
                " Only ModelConfigList is currently supported"
            )
        left = left_s(deadline_s)
        wait_s = RELOAD_WAIT_S_MAX if left is None else min(left, RELOAD_WAIT_S_MAX)
        configs = from_proto(request.config)
        self._core.reload(configs, wait_s=wait_s)
        log.info("config_reloaded", models=[config.name for config in configs])
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name, value in before.items():
            response.metric.add(name=name, int64_value_increase=self._metrics.total(name) - value)
        return response


def _model(request: Any) -> str:
    """The model that a request is about; a MultiInference names it in its tasks."""
    tasks = getattr(request, "tasks", None)
    if tasks is None:
        return str(request.model_spec.name)
    return str(tasks[0].model_spec.name) if tasks else ""


def _answer(
    context: grpc.ServicerContext,
    answer: Callable[[float | None], Response],
    failed: Callable[[StatusError], None] = lambda error: None,
) -> Response:
    """What `answer` makes of the call's deadline; nothing is begun for a caller who is late or has gone."""
    try:
        deadline_s = _deadline(context)
        left_s(deadline_s)
        if not context.is_active():
            raise StatusError(Code.CANCELLED, "the caller has gone")
        return answer(deadline_s)
    except Exception as error:  # noqa: BLE001  (the one place where failures become gRPC statuses)
        status = from_exception(error)
        if not isinstance(error, StatusError):
            log.error("call_failed", error=error)
        failed(status)
        _abort(context, status)


def _deadline(context: grpc.ServicerContext) -> float | None:
    """The call's deadline; a call without one is told to have centuries left."""
    remaining_s = context.time_remaining()
    if remaining_s is None or remaining_s > WAIT_S_MAX:
        return None
    return deadline_in(remaining_s)


def _abort(context: grpc.ServicerContext, status: StatusError) -> NoReturn:
    """Raises, which is gRPC's way to answer with a status."""
    code = _GRPC_CODES.get(int(status.code if status.code is not Code.OK else Code.UNKNOWN))
    context.abort(code, status.message[:MESSAGE_LENGTH_MAX])
    raise AssertionError("abort raises")
