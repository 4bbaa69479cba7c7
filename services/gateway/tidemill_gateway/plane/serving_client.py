"""Talks to TensorFlow Serving, or to anything that speaks its gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import Int64Value
from tidemill_contracts.errors import Malformed, Overloaded, TidemillError, Unavailable

from tidemill_gateway.errors import DeadlineExceeded, ModelFailed, Unsupported, VersionGone
from tidemill_gateway.plane.lanes import LaneKey
from tidemill_gateway.plane.signatures import VersionInfo, read_signatures
from tidemill_gateway.plane.tensors import Array, Column, from_wire, to_wire
from tidemill_gateway.wire import methods, model_pb2, predict_pb2, predict_request

MESSAGE_BYTES_MAX = 512 * 2**20
ASK_TIMEOUT_S = 5.0
"""For status and metadata; predictions have their callers' deadlines."""
RECONNECT_MS_MAX = 1000

_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX),
    ("grpc.use_local_subchannel_pool", 1),
]

_ERRORS: dict[grpc.StatusCode, type[TidemillError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Malformed,
    grpc.StatusCode.FAILED_PRECONDITION: Malformed,
    grpc.StatusCode.OUT_OF_RANGE: Malformed,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.NOT_FOUND: VersionGone,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
}

Reply = TypeVar("Reply", bound=Message)


class ServingClient:
    """One channel. It connects by itself when serving comes, and again when it comes back.

    target: ``host:port`` or ``unix:/path``. Make it inside the event loop that uses it.
    """

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    async def run(
        self,
        key: LaneKey,
        columns: Sequence[Column],
        rows: int,
        timeout_s: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Mapping[str, Array]:
        """One batch through the model; raises as batching.Runner says."""
        data = await self.call(methods.PREDICT, _request(key, columns, rows), timeout_s, headers)
        reply = _parsed(predict_pb2.PredictResponse, data)
        if reply.model_spec.HasField("version") and reply.model_spec.version.value != key.version:
            raise ModelFailed(f"version {reply.model_spec.version.value} answered for version {key.version}")
        return {name: from_wire(tensor) for name, tensor in reply.outputs.items()}

    async def statuses(self, model: str) -> list[model_pb2.ModelVersionStatus]:
        """Every version that serving knows of the model.

        Raises:
            NotFound: serving does not know the model.
            Unavailable: serving did not answer.
        """
        request = model_pb2.GetModelStatusRequest(model_spec=predict_pb2.ModelSpec(name=model))
        data = await self.call(methods.GET_MODEL_STATUS, request.SerializeToString(), ASK_TIMEOUT_S)
        return list(_parsed(model_pb2.GetModelStatusResponse, data).model_version_status)

    async def version_info(self, model: str, version: int) -> VersionInfo:
        """The signatures of a loaded version; raises as `statuses` does."""
        spec = predict_pb2.ModelSpec(name=model, version=Int64Value(value=version))
        request = model_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[methods.SIGNATURE_DEF])
        data = await self.call(methods.GET_MODEL_METADATA, request.SerializeToString(), ASK_TIMEOUT_S)
        packed = _parsed(model_pb2.GetModelMetadataResponse, data).metadata[methods.SIGNATURE_DEF]
        if not packed.type_url.endswith("/tensorflow.serving.SignatureDefMap"):
            raise ModelFailed(f"serving sent metadata of type {packed.type_url!r}")
        return read_signatures(_parsed(model_pb2.SignatureDefMap, packed.value))

    async def call(
        self, method: str, request: bytes, timeout_s: float, headers: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """One call by its full name, bytes to bytes; gRPC's codes become our errors."""
        caller = self._calls.get(method)
        if caller is None:
            caller = self._calls[method] = self._channel.unary_unary(method)
        try:
            reply: bytes = await caller(request, timeout=timeout_s, metadata=headers or None)
        except grpc.aio.AioRpcError as error:
            kind = _ERRORS.get(error.code(), ModelFailed)
            raise kind(error.details() or str(error.code())) from error
        return reply

    async def close(self) -> None:
        """Let go of the channel; calls under way are cancelled."""
        await self._channel.close()


def _request(key: LaneKey, columns: Sequence[Column], rows: int) -> bytes:
    length = rows if key.batchable else None
    parts = [predict_request.head(key.model, key.version, key.signature, key.output_filter)]
    for (name, _, _), column in zip(key.inputs, columns, strict=True):
        if isinstance(column.content, bytes):
            sizes = column.row_shape if length is None else (length, *column.row_shape)
            parts += predict_request.numbers(name, column.dtype, sizes, column.content)
        else:
            parts.append(predict_request.tensor(name, to_wire(column, length)))
    return b"".join(parts)


def _parsed(kind: type[Reply], data: bytes) -> Reply:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ModelFailed(f"serving sent no readable {kind.DESCRIPTOR.name}") from error
