"""Talks to a model server through its public gRPC API; ours or TensorFlow Serving's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from tidemill_contracts.errors import InvalidInput, NotFound, TidemillError, Unavailable

from tidemill_serving import wire
from tidemill_serving.engine.states import State

CALL_S_MAX = 10.0
RELOAD_S_MAX = 5.0
"""How long the server may take to say that it took a configuration."""

TAKEN_LOOK_S = 0.1
"""A reload is answered only when models new to the server are available; nobody else may wait for those. So
their states are asked as often as this: a server that knows them has taken the configuration."""
PREDICT_S_MAX = 60.0


@dataclass(frozen=True)
class ServedModel:
    """What the server is told of one model. base_path: the folder of its versions, as the server sees it."""

    name: str
    base_path: str
    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerState:
    """A version's state at the server; `error` is empty unless it failed."""

    state: State
    error: str = ""


class ServerAway(Unavailable):
    """The model server did not answer: it is not there, not yet there again, or too busy."""


class ModelServer(Protocol):
    """What the agent needs of a model server."""

    def reload(self, models: Sequence[ServedModel]) -> None:
        """Serve exactly these. Returns when the server took it, not when everything is loaded.

        Raises:
            InvalidInput: the server refused the configuration.
            ServerAway: it did not answer.
        """
        ...

    def states(self, model: str) -> dict[int, ServerState]:
        """Version to state; empty if the server does not know the model. Raises ServerAway as `reload`."""
        ...

    def labelled(self, model: str, label: str) -> int | None:
        """The version that answers for a label now; None if none does. Raises ServerAway as `reload`."""
        ...

    def predict(self, request: Any) -> Any:
        """The answer to a `wire.PredictRequest`.

        Raises:
            InvalidInput: the model or the server refused it; the text says why.
            ServerAway: it did not answer.
        """
        ...


_UNANSWERED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_ACCEPTED = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
"""A reload that ends so is in force all the same; only its new models are not available yet, or never."""


class GrpcModelServer:
    """A model server at a gRPC target, such as ``127.0.0.1:8500`` or ``unix:/run/serving.sock``."""

    def __init__(self, target: str) -> None:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        limits = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
        self._channel = grpc.insecure_channel(target, options=[*unlimited, *limits])
        model, prediction = "/tensorflow.serving.ModelService", "/tensorflow.serving.PredictionService"
        self._reload = self._call(f"{model}/HandleReloadConfigRequest", wire.ReloadResponse)
        self._status = self._call(f"{model}/GetModelStatus", wire.StatusResponse)
        self._metadata = self._call(f"{prediction}/GetModelMetadata", wire.MetadataResponse)
        self._predict = self._call(f"{prediction}/Predict", wire.PredictResponse)

    def _call(self, path: str, response: Any) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def reload(self, models: Sequence[ServedModel]) -> None:
        request = wire.ReloadRequest()
        listed = request.config.model_config_list
        listed.SetInParent()
        for model in models:
            config = listed.config.add(
                name=model.name, base_path=model.base_path, model_platform="tensorflow"
            )
            config.model_version_policy.specific.versions.extend(sorted(model.versions))
            for label, version in sorted(model.labels.items()):
                config.version_labels.add(key=label, value=version)
        new = [model.name for model in models if not self.states(model.name)]
        call = self._reload.future(request, timeout=RELOAD_S_MAX)
        while True:
            try:
                call.result(timeout=TAKEN_LOOK_S)
            except grpc.FutureTimeoutError:
                if not new or not all(self.states(name) for name in new):
                    continue
                call.cancel()  # the answer only; what the server took stays in force
            except grpc.RpcError as error:
                if error.code() not in _ACCEPTED:
                    raise _classed(error) from error
            return

    def states(self, model: str) -> dict[int, ServerState]:
        request = wire.StatusRequest(model_spec=wire.ModelSpec(name=model))
        try:
            response = self._status(request, timeout=CALL_S_MAX)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return {}
            raise _classed(error) from error
        return {
            each.version: ServerState(State(each.state), _failure(each))
            for each in response.model_version_status
            if each.state in State.__members__.values()
        }

    def labelled(self, model: str, label: str) -> int | None:
        spec = wire.ModelSpec(name=model, version_label=label)
        try:
            response = self._metadata(
                wire.MetadataRequest(model_spec=spec, metadata_field=["signature_def"]), timeout=CALL_S_MAX
            )
        except grpc.RpcError as error:
            classed = _classed(error)
            if isinstance(classed, NotFound | InvalidInput):
                return None
            raise classed from error
        return int(response.model_spec.version.value)

    def predict(self, request: Any) -> Any:
        try:
            return self._predict(request, timeout=PREDICT_S_MAX)
        except grpc.RpcError as error:
            raise _classed(error) from error

    def close(self) -> None:
        self._channel.close()


def _failure(status: Any) -> str:
    if not status.status.error_code:
        return ""
    return status.status.error_message or f"error {status.status.error_code}"


def _classed(error: grpc.RpcError) -> TidemillError:
    code, details = error.code(), error.details() or ""
    if code in _UNANSWERED:
        return ServerAway(f"the model server does not answer: {details}")
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(details)
    return InvalidInput(details or code.name)
