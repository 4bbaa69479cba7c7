"""Tensors as the JSON of an answer: shortest floats, bare NaN, bytes in Base64 where the name says so."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from tidemill_serving.engine.json_document import text_bytes
from tidemill_serving.engine.json_predict import Format
from tidemill_serving.engine.servable import Array
from tidemill_serving.engine.status import invalid_argument

BYTES_SUFFIX = "_bytes"
_QUICK = {
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
}
_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')
_ESCAPES = {
    b'"': b'\\"',
    b"\\": b"\\\\",
    b"\b": b"\\b",
    b"\f": b"\\f",
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\t": b"\\t",
}


def write_tensors(tensors: Mapping[str, Array], layout: Format) -> bytes:
    """The body of an answer: one tensor stands bare, several stand by name.

    Raises:
        StatusError: INVALID_ARGUMENT: there is none, a type has no form in JSON, or rows do not fit together.
    """
    if not tensors:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    body = _rows(tensors) if layout is Format.ROW else _columns(tensors)
    return b'{\n    "%s": %s\n}' % (layout.value.encode(), body)


def error_body(message: str) -> bytes:
    """``{"error": text}``."""
    return b'{\n    "error": %s\n}' % _string(text_bytes(message))


def _rows(tensors: Mapping[str, Array]) -> bytes:
    rows = -1
    for name, tensor in sorted(tensors.items()):
        if tensor.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if rows >= 0 and len(tensor) != rows:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(tensor)} expecting: {rows}"
            )
        rows = len(tensor)
    if len(tensors) == 1:
        ((name, tensor),) = tensors.items()
        return values(tensor, name)
    keys = [(_string(name.encode()), name, tensor) for name, tensor in sorted(tensors.items())]
    objects = (
        b"{" + b", ".join(key + b": " + values(tensor[row], name) for key, name, tensor in keys) + b"}"
        for row in range(rows)
    )
    return b"[\n        " + b",\n        ".join(objects) + b"\n    ]"


def _columns(tensors: Mapping[str, Array]) -> bytes:
    if len(tensors) == 1:
        ((name, tensor),) = tensors.items()
        return values(tensor, name)
    members = (
        _string(name.encode()) + b": " + values(tensor, name) for name, tensor in sorted(tensors.items())
    )
    return b"{\n        " + b",\n        ".join(members) + b"\n    }"


def values(tensor: Any, name: str) -> bytes:
    """The JSON of one tensor: an array, a scalar or bytes; raises as `write_tensors`."""
    write = _base64 if name.endswith(BYTES_SUFFIX) else _string
    if isinstance(tensor, bytes):
        return write(tensor)
    array = np.asarray(tensor)
    if array.dtype.hasobject:
        return _nested(array, write)
    if array.dtype.name not in _QUICK:
        shown = "half" if array.dtype.name == "float16" else array.dtype.name
        raise invalid_argument(f"Failed to write JSON value for tensor type: {shown}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _nested(array, _decimal)
    if array.ndim == 0:
        return orjson.dumps(array.reshape(1), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)


def _nested(array: Any, write: Any) -> bytes:
    if isinstance(array, np.ndarray) and array.ndim > 0:
        return b"[" + b", ".join(_nested(each, write) for each in array) + b"]"
    return bytes(write(array.item() if isinstance(array, np.ndarray) else array))


def _decimal(value: Any) -> bytes:
    number = float(value)
    if math.isnan(number):
        return b"NaN"
    if math.isinf(number):
        return b"Infinity" if number > 0 else b"-Infinity"
    return orjson.dumps(np.array([value]), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _base64(value: bytes) -> bytes:
    return b'{"b64": "%s"}' % base64.b64encode(value)


def _string(value: bytes) -> bytes:
    """A JSON string of these bytes as they are, which may be no UTF-8."""
    return b'"' + _ESCAPED.sub(lambda found: _escape(found[0]), value) + b'"'


def _escape(byte: bytes) -> bytes:
    return _ESCAPES.get(byte) or b"\\u%04X" % byte[0]


def scores_body(results: bytes) -> bytes:
    """``{"results": …}`` of classify and regress."""
    return b'{\n    "results": %s\n}' % results


def string_json(text: bytes) -> bytes:
    """One JSON string."""
    return _string(text)


def float_json(value: float) -> bytes:
    """One float32 in its shortest form."""
    return _decimal(np.float32(value))
