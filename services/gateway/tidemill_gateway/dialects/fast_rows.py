"""Rows of numbers straight from JSON text to a float buffer, for the one form that most requests have.

simdjson checks the text and its types and hands over the numbers flat; the shape is checked on the text's
brackets alone, against those that the signature's shape must have. Measured on one 28×28 instance (6.5 KB):
15 µs, against 82 µs for orjson, flattening and numpy; on 32 instances 0.5 ms against 2.9.

To take the inner brackets away first, so that simdjson reads one long list, was tried: it reads in two thirds
of the time, but to prove that each bracket stood in its place costs more (32 instances: 0.87 ms, not 0.59).
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import simdjson

from tidemill_gateway.plane.signatures import Signature
from tidemill_gateway.plane.tensors import NUMPY_TYPES, Column
from tidemill_gateway.wire import tensor_pb2 as pb

_NOT_STRUCTURE = b"0123456789+-.eE \t\r\n"
SKELETONS_CACHED_MAX = 512


class _Parsers(threading.local):
    def __init__(self) -> None:
        self.parser = simdjson.Parser()


_parsers = _Parsers()


def read_fast_rows(body: bytes, signature: Signature) -> tuple[Column, int] | None:
    """Column and row count of ``{"instances": [rows]}``, for one floating input of known shape.

    None if it is anything else, good or bad: then the general way answers, or says what is wrong.
    """
    if len(signature.inputs) != 1:
        return None
    spec = signature.inputs[0]
    shape = spec.row_shape
    if spec.dtype not in (pb.DT_FLOAT, pb.DT_DOUBLE) or shape is None or None in shape:
        return None
    row_shape: tuple[int, ...] = shape  # type: ignore[assignment]  # no None in it
    numbers = _numbers(body)
    if numbers is None:
        return None
    flat, rows = numbers
    start, end = body.find(b"["), body.rfind(b"]") + 1
    if rows == 0 or body[start:end].translate(None, _NOT_STRUCTURE) != _skeleton(row_shape, rows):
        return None
    with np.errstate(over="ignore"):
        content = flat.astype(NUMPY_TYPES[spec.dtype]).tobytes()
    return Column(spec.dtype, row_shape, content), rows


def _numbers(body: bytes) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], int] | None:
    document = rows = None
    try:
        document = _parsers.parser.parse(body)
        if not isinstance(document, simdjson.Object) or len(document) != 1:
            return None
        rows = document["instances"]
        if not isinstance(rows, simdjson.Array):
            return None
        return np.frombuffer(rows.as_buffer(of_type="d")), len(rows)
    except (ValueError, TypeError, KeyError, RuntimeError):
        return None  # the general way finds out what it is and says so
    finally:
        # The parser refuses to be used again while anything of its last document lives.
        del document, rows


@lru_cache(maxsize=SKELETONS_CACHED_MAX)
def _skeleton(row_shape: tuple[int, ...], rows: int) -> bytes:
    """The brackets and commas of `rows` rows of that shape."""
    text = b""
    for size in reversed(row_shape):
        text = b"[" + b",".join([text] * size) + b"]"
    return b"[" + b",".join([text] * rows) + b"]"
