"""gRPC messages as JSON values, for those who read the log of predictions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tidemill_gateway.plane.tensors import from_wire
from tidemill_gateway.wire import predict_pb2, tensor_pb2


def predict_as_json(request: predict_pb2.PredictRequest, reply: bytes) -> tuple[Any, Any]:
    """Request and response as the REST dialect spells them, by column."""
    response = predict_pb2.PredictResponse.FromString(reply)
    asked: dict[str, Any] = {"inputs": _columns(request.inputs)}
    if request.model_spec.signature_name:
        asked["signature_name"] = request.model_spec.signature_name
    return asked, {"outputs": _columns(response.outputs)}


def message_as_json(message: Message) -> Any:
    """Any other message, as protobuf spells it in JSON."""
    return MessageToDict(message, preserving_proto_field_name=True)


def _columns(tensors: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, Any]:
    return {name: _plain(from_wire(tensor).tolist()) for name, tensor in tensors.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode("ascii")}
    return value
