"""A server that speaks TensorFlow Serving's gRPC and whose models only add and measure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf.any_pb2 import Any as AnyMessage
from tidemill_gateway.plane.tensors import array_to_wire
from tidemill_gateway.wire import methods, model_pb2, predict_pb2, tensor_pb2

GATE_S_MAX = 30.0
State = model_pb2.ModelVersionStatus.State


@dataclass
class SmallServing:
    """Models whose every row answers [version, sum of the row, 0, ...]; it fails rows that hold `poison`.

    gate: while cleared, predictions wait. headers: what came beside each batch.
    """

    models: dict[str, dict[int, int]] = field(default_factory=lambda: {"digits": {1: State.AVAILABLE}})
    poison: float = -666.0
    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    address: str = ""
    _server: Any = None

    def start(self, address: str = "127.0.0.1:0") -> None:
        self.gate.set()
        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        handlers = {
            methods.PREDICT: self.predict,
            methods.GET_MODEL_METADATA: self.metadata,
            methods.GET_MODEL_STATUS: self.status,
        }
        for service in ("PredictionService", "ModelService"):
            prefix = f"/tensorflow.serving.{service}/"
            own = {
                name.removeprefix(prefix): grpc.unary_unary_rpc_method_handler(handler)
                for name, handler in handlers.items()
                if name.startswith(prefix)
            }
            server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", own)]
            )
        port = server.add_insecure_port(address)
        server.start()
        self.address = f"127.0.0.1:{port}"
        self._server = server

    def stop(self) -> None:
        self._server.stop(0).wait()

    def predict(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        request = predict_pb2.PredictRequest.FromString(data)
        name, version = request.model_spec.name, request.model_spec.version.value
        if self.models.get(name, {}).get(version) != State.AVAILABLE:
            context.abort(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})"
            )
        self.headers.append({key: str(value) for key, value in context.invocation_metadata()})
        self.gate.wait(GATE_S_MAX)
        (tensor,) = request.inputs.values()
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        if tensor.dtype == tensor_pb2.DT_STRING:
            sums = np.array([len(text) for text in tensor.string_val], dtype=np.float32)
        else:
            rows = np.frombuffer(tensor.tensor_content, dtype=np.float32).reshape(shape)
            if (rows == self.poison).any():
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a row is poisoned")
            sums = rows.reshape(shape[0], -1).sum(axis=1)
        self.batches.append(shape[0])
        out = np.zeros((shape[0], 10), dtype=np.float32)
        out[:, 0] = version
        out[:, 1] = sums
        reply = predict_pb2.PredictResponse(model_spec=request.model_spec)
        if request.model_spec.signature_name == "classify":
            labels = np.array([[b"version", b"size"]] * shape[0], dtype=object)
            reply.outputs["classes"].CopyFrom(array_to_wire(labels))
            reply.outputs["scores"].CopyFrom(array_to_wire(out[:, :2]))
        elif request.model_spec.signature_name == "regress":
            reply.outputs["outputs"].CopyFrom(array_to_wire(sums))
        else:
            reply.outputs["probabilities"].CopyFrom(array_to_wire(out))
        return reply.SerializeToString()

    def metadata(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        spec = model_pb2.GetModelMetadataRequest.FromString(data).model_spec
        if self.models.get(spec.name, {}).get(spec.version.value) != State.AVAILABLE:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
        signatures = model_pb2.SignatureDefMap()
        text, number = tensor_pb2.DT_STRING, tensor_pb2.DT_FLOAT
        ten = {"probabilities": _tensor_info(number, (-1, 10))}
        judged = {"classes": _tensor_info(text, (-1, 2)), "scores": _tensor_info(number, (-1, 2))}
        for name, method, inputs, outputs in (
            ("serving_default", "predict", {"image": _tensor_info(number, (-1, 28, 28, 1))}, ten),
            ("encoded", "predict", {"bytes": _tensor_info(text, (-1,))}, ten),
            ("classify", "classify", {"inputs": _tensor_info(text, (-1,))}, judged),
            (
                "regress",
                "regress",
                {"inputs": _tensor_info(text, (-1,))},
                {"outputs": _tensor_info(number, (-1,))},
            ),
        ):
            definition = model_pb2.SignatureDef(
                inputs=inputs, outputs=outputs, method_name=f"tensorflow/serving/{method}"
            )
            signatures.signature_def[name].CopyFrom(definition)
        packed = AnyMessage(type_url=methods.SIGNATURE_DEF_MAP_TYPE, value=signatures.SerializeToString())
        reply = model_pb2.GetModelMetadataResponse(model_spec=spec)
        reply.metadata[methods.SIGNATURE_DEF].CopyFrom(packed)
        return reply.SerializeToString()

    def status(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        name = model_pb2.GetModelStatusRequest.FromString(data).model_spec.name
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        statuses = [
            model_pb2.ModelVersionStatus(version=version, state=state)  # type: ignore[arg-type]
            for version, state in self.models[name].items()
        ]
        return model_pb2.GetModelStatusResponse(model_version_status=statuses).SerializeToString()


def _tensor_info(dtype: tensor_pb2.DataType, shape: tuple[int, ...]) -> model_pb2.TensorInfo:
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return model_pb2.TensorInfo(name="x:0", dtype=dtype, tensor_shape=tensor_pb2.TensorShapeProto(dim=dims))
