"""The gRPC services: each call is handed to its function, each StatusError becomes a gRPC status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, cast

from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from tidemill_chassis.logs import get_logger
from tidemill_chassis.rpc.codes import CallFailed
from tidemill_chassis.rpc.serving_side import Call

from tidemill_serving.engine.core import RELOAD_WAIT_S_MAX, Core
from tidemill_serving.engine.deadlines import left_s
from tidemill_serving.engine.inference import classify, multi_inference, regress
from tidemill_serving.engine.metadata import model_metadata, model_status
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.model_config import from_proto
from tidemill_serving.engine.predict import predict
from tidemill_serving.engine.status import Code, StatusError, from_exception, invalid_argument

log = get_logger(__name__)

PREDICTIONS = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"

MESSAGE_LENGTH_MAX = 4096
"""Error texts go out as HTTP/2 trailers, which clients bound; longer ones are cut."""

WAIT_S_MAX = 86_400.0
"""A deadline that lies further ahead is none."""

Answer = Callable[[Any, float | None], Message]
"""From a request and its deadline to the response; raises StatusError."""


class Services:
    """tensorflow.serving.PredictionService and ModelService.

    closing: once set, predictions that come are told UNAVAILABLE, and clients try elsewhere.
    """

    def __init__(self, core: Core, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics
        self.closing = False

    def handlers(self) -> Mapping[str, Callable[[Call], bytes]]:
        """By the method's full name."""
        core = self._core
        return {
            PREDICTIONS + "Predict": self._measured(predict, "Predict", predict_pb2.PredictRequest),
            PREDICTIONS + "Classify": self._measured(
                classify, "Classify", classification_pb2.ClassificationRequest
            ),
            PREDICTIONS + "Regress": self._measured(regress, "Regress", regression_pb2.RegressionRequest),
            PREDICTIONS + "MultiInference": self._measured(
                multi_inference, "MultiInference", inference_pb2.MultiInferenceRequest
            ),
            PREDICTIONS + "GetModelMetadata": _handler(
                lambda request, _: model_metadata(core, request),
                get_model_metadata_pb2.GetModelMetadataRequest,
            ),
            MODELS + "GetModelStatus": _handler(
                lambda request, _: model_status(core, request), get_model_status_pb2.GetModelStatusRequest
            ),
            MODELS + "HandleReloadConfigRequest": _handler(
                self._reload, model_management_pb2.ReloadConfigRequest
            ),
        }

    def _measured(
        self, function: Callable[..., Message], api: str, kind: type[Message]
    ) -> Callable[[Call], bytes]:
        core, metrics = self._core, self._metrics

        def answer(call: Call) -> bytes:
            if self.closing:
                raise CallFailed(Code.UNAVAILABLE, "the server is shutting down")
            started_s = perf_counter()
            request = _parsed(kind, call.message)
            status = "OK"
            try:
                deadline_s = _deadline_s(call)
                return function(core, request, deadline_s=deadline_s).SerializeToString()
            except Exception as error:
                failure = _failure(error)
                status = failure.code.name
                raise _told(failure) from error
            finally:
                metrics.observe(_model(request), status, api, "GRPC", perf_counter() - started_s)

        return answer

    def _reload(self, request: Any, deadline_s: float | None) -> Message:
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
        return cast(Message, response)


def _model(request: Any) -> str:
    """The model that a request is about; a MultiInference names it in its tasks."""
    tasks = getattr(request, "tasks", None)
    if tasks is None:
        return str(request.model_spec.name)
    return str(tasks[0].model_spec.name) if tasks else ""


def _handler(answer: Answer, kind: type[Message]) -> Callable[[Call], bytes]:
    def handle(call: Call) -> bytes:
        request = _parsed(kind, call.message)
        try:
            return answer(request, _deadline_s(call)).SerializeToString()
        except Exception as error:
            raise _told(_failure(error)) from error

    return handle


def _parsed(kind: type[Message], message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise CallFailed(Code.INTERNAL, "Exception deserializing request!") from error


def _deadline_s(call: Call) -> float | None:
    """The call's deadline; nothing is begun for a caller who is late or has gone.

    Raises:
        StatusError: DEADLINE_EXCEEDED, CANCELLED.
    """
    if not call.active:
        raise StatusError(Code.CANCELLED, "the caller has gone")
    left = left_s(call.deadline_s)
    return None if left is None or left > WAIT_S_MAX else call.deadline_s


def _failure(error: Exception) -> StatusError:
    if isinstance(error, StatusError):
        return error
    log.error("call_failed", error=error)
    return from_exception(error)


def _told(failure: StatusError) -> CallFailed:
    code = failure.code if failure.code is not Code.OK else Code.UNKNOWN
    return CallFailed(code, failure.message[:MESSAGE_LENGTH_MAX])
