"""Talks to TensorFlow Serving, or to anything that speaks its gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import Int64Value
from tidemill_chassis.rpc.channel import Channel
from tidemill_chassis.rpc.codes import CallFailed, Code
from tidemill_contracts.errors import Malformed, Overloaded, TidemillError, Unavailable

from tidemill_gateway.errors import DeadlineExceeded, ModelFailed, Unsupported, VersionGone
from tidemill_gateway.plane.lanes import LaneKey
from tidemill_gateway.plane.signatures import VersionInfo, read_signatures
from tidemill_gateway.plane.tensors import Array, Column, from_wire, to_wire
from tidemill_gateway.wire import methods, model_pb2, predict_pb2, predict_request

MESSAGE_BYTES_MAX = 512 * 2**20
ASK_TIMEOUT_S = 5.0
"""For status and metadata; predictions have their callers' deadlines."""

_ERRORS: dict[Code, type[TidemillError]] = {
    Code.INVALID_ARGUMENT: Malformed,
    Code.FAILED_PRECONDITION: Malformed,
    Code.OUT_OF_RANGE: Malformed,
    Code.UNIMPLEMENTED: Unsupported,
    Code.NOT_FOUND: VersionGone,
    Code.RESOURCE_EXHAUSTED: Overloaded,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.UNAVAILABLE: Unavailable,
    Code.CANCELLED: Unavailable,
    Code.ABORTED: Unavailable,
}

Reply = TypeVar("Reply", bound=Message)


class ServingClient:
    """One channel. It connects by itself when serving comes, and again when it comes back.

    target: ``host:port`` or ``unix:/path``. Make it inside the event loop that uses it.
    """

    def __init__(self, target: str) -> None:
        self._channel = Channel(target, message_bytes_max=MESSAGE_BYTES_MAX)

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
        try:
            return await self._channel.call(method, request, timeout_s, headers)
        except CallFailed as error:
            kind = _ERRORS.get(error.code, ModelFailed)
            raise kind(error.text or error.code.name) from error

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
