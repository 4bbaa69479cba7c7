"""TensorProto to array and back, without a Python object per number where the type allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tidemill_serving.engine.servable import Array
from tidemill_serving.engine.status import invalid_argument

TENSOR_BYTES_MAX = 2**31 - 1
"""A tensor larger than the largest message is refused, however few values stand for it."""

_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}
_DTYPES = {number: np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype) for number in _FIELDS}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
_HALVES = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_COMPLEX = {types_pb2.DT_COMPLEX64: np.float32, types_pb2.DT_COMPLEX128: np.float64}
_PACKED = {types_pb2.DT_FLOAT: 5, types_pb2.DT_DOUBLE: 6}
"""Types whose repeated field lies on the wire as it lies in memory, and that field's number."""


def numpy_dtype(number: int) -> np.dtype[Any]:
    """The dtype of a DataType's number.

    Raises:
        StatusError: no array holds that type.
    """
    if number not in _DTYPES:
        raise invalid_argument(f"unsupported data type: {number}")
    dtype: np.dtype[Any] = _DTYPES[number]
    return dtype


def to_array(proto: tensor_pb2.TensorProto, alias: str) -> Array:
    """The tensor as an array, as TensorFlow reads it: missing values repeat the last, none at all are zero.

    Raises:
        StatusError: shape, type or content do not fit together.
    """
    try:
        return _parse(proto)
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error


def _parse(proto: tensor_pb2.TensorProto) -> Array:
    number = int(proto.dtype)
    dtype = _DTYPES[number]
    if proto.tensor_shape.unknown_rank:
        raise ValueError("unknown rank")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise ValueError("negative dimension")
    count = 1
    for size in shape:
        count *= size
    if count * dtype.itemsize > TENSOR_BYTES_MAX:
        raise ValueError("too large")
    if proto.tensor_content:
        return _from_content(proto.tensor_content, number, dtype, count).reshape(shape)
    return _filled(_values(proto, number, dtype), dtype, count).reshape(shape)


def _from_content(content: bytes, number: int, dtype: np.dtype[Any], count: int) -> Array:
    if number == types_pb2.DT_STRING:
        return _strings(content, count)
    if len(content) != count * dtype.itemsize:
        raise ValueError("tensor_content has the wrong size")
    return np.frombuffer(content, dtype)


def _strings(content: bytes, count: int) -> Array:
    """Strings as TensorFlow lays them: all lengths as varints, then all bytes."""
    if count > len(content):
        raise ValueError("fewer lengths than strings")
    position = 0
    lengths = []
    for _ in range(count):
        length, position = _varint(content, position)
        lengths.append(length)
    values = np.empty(count, object)
    for index, length in enumerate(lengths):
        values[index] = content[position : position + length]
        position += length
    if position != len(content):
        raise ValueError("lengths and bytes do not fit")
    return values


def _values(proto: tensor_pb2.TensorProto, number: int, dtype: np.dtype[Any]) -> Array:
    if number in _PACKED:
        return np.frombuffer(_packed_field(proto.SerializeToString(), _PACKED[number]), dtype)
    values = getattr(proto, _FIELDS[number])
    if number == types_pb2.DT_STRING:
        array = np.empty(len(values), object)
        array[:] = values
        return array
    if number in _HALVES:
        return np.array(values, np.int64).astype(np.uint16).view(dtype)
    if number in _COMPLEX:
        return np.array(values[: len(values) // 2 * 2], _COMPLEX[number]).view(dtype)
    if number == types_pb2.DT_BOOL or dtype.itemsize >= 4:
        return np.array(values, dtype)
    return np.array(values, np.int64).astype(dtype)


def _filled(values: Array, dtype: np.dtype[Any], count: int) -> Array:
    if len(values) == count:
        return values
    if len(values) > count:
        return values[:count]
    filled = np.empty(count, dtype)
    filled[: len(values)] = values
    empty = b"" if dtype.hasobject else dtype.type(0)
    filled[len(values) :] = values[-1] if len(values) else empty
    return filled


def _packed_field(wire: bytes, wanted: int) -> bytes:
    """The bytes of a packed repeated field in a message that was just serialised."""
    parts: list[bytes] = []
    position = 0
    while position < len(wire):
        tag, position = _varint(wire, position)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            _, position = _varint(wire, position)
        elif kind == 2:
            length, position = _varint(wire, position)
            if field == wanted:
                parts.append(wire[position : position + length])
            position += length
        else:
            position += 4 if kind == 5 else 8
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("not a varint")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint_bytes(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def fill_proto(proto: tensor_pb2.TensorProto, array: Array) -> None:
    """Write the array into an empty proto, in typed fields, as the server answers."""
    number = _NUMBERS.get(array.dtype, types_pb2.DT_STRING)
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    flat = array.reshape(-1)
    if number in _PACKED:
        raw = np.ascontiguousarray(flat).tobytes()
        if raw:
            proto.MergeFromString(bytes([_PACKED[number] << 3 | 2]) + _varint_bytes(len(raw)) + raw)
    elif number == types_pb2.DT_STRING:
        proto.string_val.extend([each if isinstance(each, bytes) else bytes(each) for each in flat])
    elif number in _HALVES:
        proto.half_val.extend(flat.view(np.uint16).tolist())
    elif number in _COMPLEX:
        getattr(proto, _FIELDS[number]).extend(flat.view(_COMPLEX[number]).tolist())
    else:
        getattr(proto, _FIELDS[number]).extend(flat.tolist())
