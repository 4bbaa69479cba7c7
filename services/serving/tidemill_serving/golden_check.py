"""Asks a version its golden predictions and says what differs."""

from __future__ import annotations

import math
import struct
from typing import Any

from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.golden import Golden, GoldenInput

from tidemill_serving import wire
from tidemill_serving.model_server import ModelServer

_DT_FLOAT, _DT_DOUBLE, _DT_INT32, _DT_UINT8, _DT_STRING, _DT_INT64, _DT_BOOL = 1, 2, 3, 4, 7, 9, 10
_INPUTS = {
    "float32": (_DT_FLOAT, "float_val"),
    "float64": (_DT_DOUBLE, "double_val"),
    "int32": (_DT_INT32, "int_val"),
    "int64": (_DT_INT64, "int64_val"),
    "uint8": (_DT_UINT8, "int_val"),
    "bool": (_DT_BOOL, "bool_val"),
    "string": (_DT_STRING, "string_val"),
}
_OUTPUTS = {number: field for number, field in _INPUTS.values() if number != _DT_STRING}
_CONTENT = {_DT_FLOAT: ("f", 4), _DT_DOUBLE: ("d", 8), _DT_INT32: ("i", 4), _DT_INT64: ("q", 8)}


def golden_difference(server: ModelServer, model: str, version: int, golden: Golden) -> str | None:
    """What the version answers differently from its golden predictions, as one sentence; None if nothing.

    Raises:
        Unavailable: the server did not answer.
    """
    try:
        response = server.predict(golden_request(model, version, golden))
    except (InvalidInput, NotFound) as error:
        return f"the golden request was refused: {error}"
    answered = {entry.key: _flat(entry.value) for entry in response.outputs}
    return golden.difference({name: value for name, value in answered.items() if value is not None})


def golden_request(model: str, version: int, golden: Golden) -> Any:
    """The PredictRequest that asks for the golden outputs of exactly this version."""
    request = wire.PredictRequest()
    request.model_spec.name = model
    request.model_spec.version.value = version
    request.model_spec.signature_name = golden.signature_name
    for name, tensor in sorted(golden.inputs.items()):
        _fill(request.inputs.add(key=name).value, tensor)
    return request


def _fill(proto: Any, tensor: GoldenInput) -> None:
    number, field = _INPUTS[tensor.dtype]
    proto.dtype = number
    for size in tensor.shape:
        proto.tensor_shape.dim.add(size=size)
    values = tensor.byte_strings() if tensor.dtype == "string" else tensor.values
    getattr(proto, field).extend(values)


def _flat(proto: Any) -> tuple[list[int], list[float]] | None:
    """Shape and values of a numeric tensor; None for any other."""
    field = _OUTPUTS.get(proto.dtype)
    if field is None:
        return None
    shape = [int(dim.size) for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    if proto.tensor_content:
        if proto.dtype not in _CONTENT:
            return None
        letter, size = _CONTENT[proto.dtype]
        values = [
            float(value) for value in struct.unpack(f"<{count}{letter}", proto.tensor_content[: count * size])
        ]
    else:
        values = [float(value) for value in getattr(proto, field)]
        if values and len(values) < count:
            values += [values[-1]] * (count - len(values))
    return shape, values
