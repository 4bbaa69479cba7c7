"""Values of a JSON request as arrays of the signature's types.

Lists of numbers are converted at once. Whatever that cannot prove right is walked value by value, which knows
the server's every rule and words every error as the server does.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from tidemill_serving.engine.json_document import shown, text_bytes, type_name
from tidemill_serving.engine.servable import Array
from tidemill_serving.engine.status import Code, StatusError, invalid_argument
from tidemill_serving.engine.tensors import numpy_dtype

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
_BOUNDS = {
    types_pb2.DT_INT8: INT32,  # as the server: checked as int32, then narrowed
    types_pb2.DT_INT16: INT32,
    types_pb2.DT_INT32: INT32,
    types_pb2.DT_UINT8: INT32,
    types_pb2.DT_INT64: INT64,
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}
_FLOATS = {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE}
DEPTH_MAX = 254
"""A tensor of TensorFlow has at most so many dimensions."""


def to_tensor(value: Any, dtype: int) -> Array:
    """The array of a JSON value: a scalar, or lists in lists, each as long as its neighbours.

    Raises:
        StatusError: INVALID_ARGUMENT: shape or type do not fit. UNIMPLEMENTED: the type has no form in JSON.
    """
    quick = _quick(value, dtype)
    if quick is not None:
        return quick
    shape = dense_shape(value)
    values: list[Any] = []
    _walk(value, 0, shape, _converter(dtype), values)
    if dtype == types_pb2.DT_STRING:
        array = np.empty(len(values), object)
        array[:] = values
        return array.reshape(shape)
    with np.errstate(over="ignore"):  # a decimal out of a float's range is infinite, as the server has it
        if dtype in _BOUNDS:
            wide = np.uint64 if dtype == types_pb2.DT_UINT64 else np.int64
            return np.array(values, wide).astype(numpy_dtype(dtype)).reshape(shape)
        return np.array(values, numpy_dtype(dtype)).reshape(shape)


def dense_shape(value: Any) -> tuple[int, ...]:
    """The shape that the first elements promise."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > DEPTH_MAX:
            raise invalid_argument(
                f"Encountered list at unexpected level: {DEPTH_MAX} expected < {DEPTH_MAX}"
            )
        if not value:
            break
        value = value[0]
    return tuple(shape)


def is_base64(value: Any) -> bool:
    """Whether it is ``{"b64": "text"}`` and nothing more."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value: Any) -> bytes:
    """The bytes of ``{"b64": "text"}``.

    Raises:
        StatusError: INVALID_ARGUMENT: it is no such object, or not Base64.
    """
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        text = value["b64"].encode("ascii").rstrip(b"=")
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _quick(value: Any, dtype: int) -> Array | None:
    """The array of lists of plain numbers, or None if it takes a closer look.

    NumPy turns true into 1 beside numbers, so the innermost lists are searched for it.
    """
    if not isinstance(value, list) or not (dtype in _FLOATS or dtype in _BOUNDS):
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # ragged, or a number beyond 64 bits
        return None
    if array.size == 0 or _has_boolean(value):
        return None
    if dtype in _FLOATS:
        if array.dtype.kind not in "fiu":
            return None
        with np.errstate(over="ignore"):
            return array.astype(numpy_dtype(dtype))
    low, high = _BOUNDS[dtype]
    if array.dtype.kind not in "iu" or int(array.min()) < low or int(array.max()) > high:
        return None
    return array.astype(numpy_dtype(dtype))


def _has_boolean(value: list[Any]) -> bool:
    while isinstance(value[0], list):
        value = [item for inner in value for item in inner]
    kinds = set(map(type, value))
    return bool in kinds


def _walk(
    value: Any, level: int, shape: tuple[int, ...], convert: Callable[[Any], Any], into: list[Any]
) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM."
                f" Expected at level: {len(shape)}"
            )
        into.append(convert(value))
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for item in value:
        _walk(item, level + 1, shape, convert, into)


def _converter(dtype: int) -> Callable[[Any], Any]:
    """Turns one JSON value into one element, or raises as the server does."""
    name = type_text(dtype)

    def refuse(value: Any) -> StatusError:
        return invalid_argument(
            f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: {name}"
        )

    def number(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse(value)
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)

    def integer(value: Any) -> int:
        low, high = _BOUNDS[dtype]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refuse(value)
        return value

    def string(value: Any) -> bytes:
        if isinstance(value, dict):
            return decode_base64(value)
        if not isinstance(value, str):
            raise refuse(value)
        return text_bytes(value)

    def boolean(value: Any) -> bool:
        if not isinstance(value, bool):
            raise refuse(value)
        return value

    def unimplemented(value: Any) -> Any:
        raise StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {name}")

    if dtype in _FLOATS:
        return number
    if dtype in _BOUNDS:
        return integer
    return {types_pb2.DT_STRING: string, types_pb2.DT_BOOL: boolean}.get(dtype, unimplemented)


def type_text(dtype: int) -> str:
    """A DataType as TensorFlow's texts name it: ``float``, ``int32``, ``string``."""
    names: dict[int, str] = {value: name for name, value in types_pb2.DataType.items()}
    return names.get(dtype, str(dtype)).removeprefix("DT_").lower()
