"""TensorFlow Serving's gRPC predict: tensors in, tensors out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int64Value
from tidemill_chassis.rpc.codes import Code
from tidemill_contracts.errors import (
    Conflict,
    InvalidInput,
    Malformed,
    NotFound,
    Overloaded,
    TidemillError,
    TooLarge,
    Unavailable,
)

from tidemill_gateway.dialects.grpc_json import predict_as_json
from tidemill_gateway.dialects.json_values import check_shape
from tidemill_gateway.errors import (
    DeadlineExceeded,
    Forbidden,
    ModelFailed,
    NoSignature,
    Unauthenticated,
    Unsupported,
)
from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.signatures import DEFAULT_SIGNATURE, Signature, TensorSpec
from tidemill_gateway.plane.tensors import NUMPY_TYPES, Column, array_to_wire, from_wire
from tidemill_gateway.plane.versions import Resolved, Target
from tidemill_gateway.wire import predict_pb2, tensor_pb2

CODES: tuple[tuple[type[TidemillError], Code], ...] = (
    (Unauthenticated, Code.UNAUTHENTICATED),
    (Forbidden, Code.PERMISSION_DENIED),
    (Unsupported, Code.UNIMPLEMENTED),
    (NoSignature, Code.FAILED_PRECONDITION),
    (TooLarge, Code.RESOURCE_EXHAUSTED),
    (InvalidInput, Code.INVALID_ARGUMENT),
    (NotFound, Code.NOT_FOUND),
    (Conflict, Code.ABORTED),
    (Overloaded, Code.RESOURCE_EXHAUSTED),
    (DeadlineExceeded, Code.DEADLINE_EXCEEDED),
    (Unavailable, Code.UNAVAILABLE),
)
"""gRPC's code per class of error: the first that fits; INTERNAL for the rest."""


def code_of(error: TidemillError) -> Code:
    """The code of an error's class."""
    return next((code for kind, code in CODES if isinstance(error, kind)), Code.INTERNAL)


def text_of(error: TidemillError) -> str:
    """The error's text; TensorFlow Serving says one of them otherwise in gRPC than in REST."""
    return (
        f'Serving signature key "{error.name}" not found.' if isinstance(error, NoSignature) else str(error)
    )


def target_of(spec: predict_pb2.ModelSpec, sticky: str = "") -> Target:
    """Whom a request asks; raises Malformed if it names no model."""
    if not spec.name:
        raise Malformed("Missing ModelSpec")
    version = spec.version.value if spec.HasField("version") else None
    label = spec.version_label if spec.HasField("version_label") else None
    return Target(spec.name, version, label or None, sticky)


class GrpcPredictCall:
    """A PredictRequest as the data plane takes it.

    Raises:
        Malformed: the bytes are no PredictRequest.
    """

    heavy = False

    def __init__(self, data: bytes) -> None:
        try:
            self._request = predict_pb2.PredictRequest.FromString(data)
        except DecodeError as error:
            raise Malformed(f"not a PredictRequest: {error}") from error
        spec = self._request.model_spec
        self.signature_name = spec.signature_name or DEFAULT_SIGNATURE
        self.output_filter = tuple(self._request.output_filter)

    def target(self, sticky: str = "") -> Target:
        """Whom it asks."""
        return target_of(self._request.model_spec, sticky)

    def rows(self, signature: Signature) -> Rows:
        """The tensors as columns; raises as calls.Call.rows says."""
        inputs = self._request.inputs
        names = {spec.name for spec in signature.inputs}
        if inputs.keys() != names:
            extra, missing = sorted(inputs.keys() - names), sorted(names - inputs.keys())
            raise Malformed(
                f"input size does not match signature: {len(inputs)}!={len(names)}. "
                f"Sent extra: {extra}. Missing but required: {missing}."
            )
        self._check_filter(signature)
        tensors = [(spec, inputs[spec.name]) for spec in signature.inputs]
        for spec, tensor in tensors:
            _check(spec, tensor)
        lengths = {_length(tensor) for _, tensor in tensors}
        if signature.batchable and len(lengths) == 1 and lengths.isdisjoint({None, 0}):
            count = lengths.pop()
            return Rows(tuple(_column(tensor, 1) for _, tensor in tensors), count or 0)
        return Rows(tuple(_column(tensor, 0) for _, tensor in tensors), 1, batchable=False)

    def _check_filter(self, signature: Signature) -> None:
        outputs = {spec.name for spec in signature.outputs}
        if len(set(self.output_filter)) != len(self.output_filter):
            raise Malformed("duplicate output_filter")
        unknown = set(self.output_filter) - outputs
        if unknown:
            raise Malformed(f"output tensor alias not found in signature: {sorted(unknown)}")

    def as_json(self, reply: bytes) -> tuple[Any, Any]:
        """Request and response for the log."""
        return predict_as_json(self._request, reply)

    def render(self, resolved: Resolved, answer: Answer) -> bytes:
        """The PredictResponse."""
        spec = predict_pb2.ModelSpec(
            name=resolved.model,
            version=Int64Value(value=answer.version),
            signature_name=self.signature_name,
        )
        outputs: Mapping[str, tensor_pb2.TensorProto] = {
            name: array_to_wire(array) for name, array in answer.outputs.items()
        }
        return predict_pb2.PredictResponse(model_spec=spec, outputs=outputs).SerializeToString()


def _length(tensor: tensor_pb2.TensorProto) -> int | None:
    dims = tensor.tensor_shape.dim
    return int(dims[0].size) if len(dims) else None


def _check(spec: TensorSpec, tensor: tensor_pb2.TensorProto) -> None:
    if tensor.dtype != spec.dtype:
        found = tensor_pb2.DataType.Name(tensor.dtype)
        raise Malformed(f"input {spec.name!r} is of type {found}; the model takes {spec.type_name}")
    if tensor.tensor_shape.unknown_rank:
        raise Malformed(f"input {spec.name!r} has no shape")
    check_shape(tuple(dim.size for dim in tensor.tensor_shape.dim), spec.shape, f"input {spec.name!r}")


def _column(tensor: tensor_pb2.TensorProto, leading: int) -> Column:
    """The tensor's content with its first `leading` dimensions set apart, packed as lanes want it."""
    sizes = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if any(size < 0 for size in sizes):
        raise Malformed(f"a tensor has the shape {list(sizes)}")
    if tensor.tensor_content and tensor.dtype in NUMPY_TYPES:
        count = math.prod(sizes)
        if len(tensor.tensor_content) != count * NUMPY_TYPES[tensor.dtype].itemsize:
            raise Malformed(f"a tensor of shape {list(sizes)} holds {len(tensor.tensor_content)} bytes")
        return Column(tensor.dtype, sizes[leading:], tensor.tensor_content)
    try:
        array = from_wire(tensor)
    except ModelFailed as error:
        raise Malformed(str(error)) from error
    content = list(array.reshape(-1)) if array.dtype == object else array.tobytes()
    return Column(tensor.dtype, sizes[leading:], content)
