"""JSON values into tensors' bytes, by TensorFlow Serving's rules, strictly.

Numbers: floating types take any number, whole types only whole numbers in their range, booleans only
true and false. Strings: plain text, or ``{"b64": "..."}`` for bytes. Lists nest as the shape does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from tidemill_contracts.errors import Malformed
from tidemill_contracts.samples import decode_base64

from tidemill_gateway.errors import Unsupported
from tidemill_gateway.plane.signatures import Shape, TensorSpec
from tidemill_gateway.plane.tensors import NUMPY_TYPES, Column
from tidemill_gateway.wire import tensor_pb2 as pb

RANK_MAX = 32
SHOWN_MAX = 60
"""How much of a wrong value an error shows."""
_UNSUPPORTED = {pb.DT_HALF, pb.DT_BFLOAT16, pb.DT_COMPLEX64, pb.DT_COMPLEX128}


def read_column(values: list[Any], spec: TensorSpec, where: str) -> Column:
    """A column of ``len(values)`` rows, one per value.

    Raises:
        Malformed: the values are of another type, or of unequal shapes, or not of the input's shape.
        Unsupported: JSON has no values for the input's type.
    """
    shape, leaves = flatten(values, where)
    check_shape(shape[1:], spec.row_shape, f"{where} for input {spec.name!r}")
    return Column(spec.dtype, shape[1:], encode(leaves, spec, where))


def read_tensor(value: Any, spec: TensorSpec, where: str) -> Column:
    """The whole value as one tensor; its first dimension, if any, is not set apart."""
    shape, leaves = flatten([value], where)
    check_shape(shape[1:], spec.shape, f"{where} for input {spec.name!r}")
    return Column(spec.dtype, shape[1:], encode(leaves, spec, where))


def flatten(values: list[Any], where: str) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and leaves of a nested list.

    Raises:
        Malformed: lists beside values, or lists of unequal length, at one level; or too deep.
    """
    shape = [len(values)]
    level = values
    while level and type(level[0]) is list:
        length = len(level[0])
        if not all(type(item) is list and len(item) == length for item in level):
            raise Malformed(f"{where} has lists of unequal shape: every instance must have the same shape")
        if len(shape) >= RANK_MAX:
            raise Malformed(f"{where} nests more than {RANK_MAX} lists")
        shape.append(length)
        level = list(chain.from_iterable(level))
    if any(type(item) is list for item in level):
        raise Malformed(f"{where} has lists of unequal shape: every instance must have the same shape")
    return tuple(shape), level


def check_shape(found: tuple[int, ...], wanted: Shape | None, where: str) -> None:
    """Return if the shape is one that the signature takes; raises Malformed."""
    if wanted is None:
        return
    fits = len(found) == len(wanted) and all(
        size is None or size == have for size, have in zip(wanted, found, strict=True)
    )
    if not fits:
        said = "[" + ", ".join("any" if size is None else str(size) for size in wanted) + "]"
        raise Malformed(f"{where} has shape {list(found)}, but the model takes {said}")


def encode(leaves: list[Any], spec: TensorSpec, where: str) -> bytes | list[bytes]:
    """The leaves as a tensor's content; raises as `read_column` does."""
    if spec.dtype == pb.DT_STRING:
        return [_string(leaf, spec, where) for leaf in leaves]
    if spec.dtype in _UNSUPPORTED or spec.dtype not in NUMPY_TYPES:
        raise Unsupported(f"input {spec.name!r} is of type {spec.type_name}, which JSON cannot carry")
    dtype = NUMPY_TYPES[spec.dtype]
    accept = _ACCEPTED[dtype.kind]
    if not all(accept(leaf) for leaf in leaves):
        wrong = next(leaf for leaf in leaves if not accept(leaf))
        raise _wrong_type(wrong, spec, where)
    try:
        with np.errstate(over="ignore"):
            if dtype.kind == "f":
                return np.array(leaves, dtype=np.float64).astype(dtype).tobytes()
            return np.array(leaves, dtype=dtype).tobytes()
    except OverflowError as error:
        raise Malformed(f"{where} has a number outside the range of {spec.type_name}") from error


def _string(leaf: Any, spec: TensorSpec, where: str) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode("utf-8", "surrogatepass")
    if isinstance(leaf, dict) and len(leaf) == 1 and isinstance(leaf.get("b64"), str):
        try:
            return decode_base64(leaf["b64"])
        except ValueError as error:
            raise Malformed(f"{where} for input {spec.name!r}: the value of b64 is {error}") from error
    raise _wrong_type(leaf, spec, where)


def _wrong_type(leaf: Any, spec: TensorSpec, where: str) -> Malformed:
    shown = repr(leaf)
    shown = shown if len(shown) <= SHOWN_MAX else shown[:SHOWN_MAX] + "…"
    kind = {bool: "Bool", str: "String", dict: "Object", type(None): "Null"}.get(type(leaf), "Number")
    return Malformed(
        f"{where}: JSON Value: {shown} Type: {kind} is not of expected type: {spec.type_name} "
        f"(input {spec.name!r})"
    )


_ACCEPTED: dict[str, Callable[[Any], bool]] = {
    "f": lambda leaf: type(leaf) is float or type(leaf) is int,
    "i": lambda leaf: type(leaf) is int,
    "u": lambda leaf: type(leaf) is int,
    "b": lambda leaf: type(leaf) is bool,
}
