"""Reads rows of named columns: one way for samples, training and serving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import Column
from tidemill_contracts.samples import Sample, Scalar

CATEGORY_BYTES_MAX = 128
MISSING_CATEGORY = b""
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def row_type(columns: Sequence[Column]) -> np.dtype[Any]:
    """A field per column: numbers float32, not a number where missing; categories as bytes, empty where
    missing."""
    kinds = {"number": "<f4", "category": f"S{CATEGORY_BYTES_MAX}"}
    return np.dtype([(column.name, kinds[column.type]) for column in columns])


def read_rows(samples: Sequence[Sample], columns: Sequence[Column]) -> npt.NDArray[Any]:
    """A structured array of `row_type`.

    A column that a row lacks, or has as null or empty text, is missing; columns that no one asked for are
    left alone.

    Raises:
        InvalidInput: a sample is no row, or a value is of another type; `field` names the column.
    """
    rows = [tuple(_value(_row(sample).get(column.key), column) for column in columns) for sample in samples]
    return np.array(rows, row_type(columns))


def _row(sample: Sample) -> dict[str, Scalar]:
    if sample.row is None:
        raise InvalidInput("the sample is not a row", field="row")
    return sample.row


def _value(value: Scalar, column: Column) -> float | bytes:
    return _number(value, column) if column.type == "number" else _category(value, column)


def _number(value: Scalar, column: Column) -> float:
    if value is None or value == "":
        return math.nan
    if isinstance(value, str):
        said = f"column {column.key}: {value[:40]!r} is not a number; where one is missing, leave it out"
        raise InvalidInput(said, field=column.key)
    if not abs(value) <= _FLOAT32_MAX:
        raise InvalidInput(f"column {column.key}: {value} is beyond float32", field=column.key)
    return float(value)


def _category(value: Scalar, column: Column) -> bytes:
    """Text as it is; true and whole numbers as a client would write them into a text field."""
    if value is None:
        return MISSING_CATEGORY
    if isinstance(value, bool):
        return b"true" if value else b"false"
    text = repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > CATEGORY_BYTES_MAX or b"\0" in encoded:
        said = f"column {column.key}: a category has at most {CATEGORY_BYTES_MAX} bytes, none of them zero"
        raise InvalidInput(said, field=column.key)
    return encoded
