"""Golden predictions: what a version answered where it was trained, to be answered again where it serves.

The file lies in the version at `PATH`. Values are flat, in row-major order; bytes stand in Base64::

    {"signature_name": "serving_default",
     "inputs": {"image": {"dtype": "string", "shape": [2], "b64": ["iVBORw…", "iVBORw…"]}},
     "outputs": {"probabilities": {"shape": [2, 10], "values": [0.01, 0.97, …]}},
     "tolerance": 0.0001}
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

PATH = "assets.extra/golden.json"
TOLERANCE = 1e-4
VALUES_MAX = 4_000_000

Dimension = Annotated[int, Field(ge=0, le=VALUES_MAX)]
Shape = Annotated[tuple[Dimension, ...], Field(max_length=16)]
Number = int | FiniteFloat | bool
DType = Literal["float32", "float64", "int32", "int64", "uint8", "bool", "string"]


class GoldenInput(BaseModel):
    """One input tensor: numbers in `values`, or byte strings in `b64`, as many as the shape has places."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: DType
    shape: Shape
    values: tuple[Number, ...] | None = None
    b64: tuple[str, ...] | None = None

    @classmethod
    def of_bytes(cls, items: Sequence[bytes]) -> GoldenInput:
        """A vector of byte strings, such as encoded images."""
        encoded = tuple(base64.b64encode(item).decode() for item in items)
        return cls(dtype="string", shape=(len(items),), b64=encoded)

    def byte_strings(self) -> list[bytes]:
        """The byte strings of a tensor of dtype string."""
        return [base64.b64decode(item, validate=True) for item in self.b64 or ()]

    @model_validator(mode="after")
    def _fits(self) -> GoldenInput:
        given = self.b64 if self.dtype == "string" else self.values
        other = self.values if self.dtype == "string" else self.b64
        if given is None or other is not None:
            raise ValueError("give `b64` for dtype string and `values` for every other dtype")
        if len(given) != math.prod(self.shape):
            raise ValueError(f"shape {list(self.shape)} has {math.prod(self.shape)} places, not {len(given)}")
        self.byte_strings()
        return self


class GoldenOutput(BaseModel):
    """One output tensor of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape
    values: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _fits(self) -> GoldenOutput:
        if len(self.values) != math.prod(self.shape):
            raise ValueError(f"shape {list(self.shape)} does not have {len(self.values)} places")
        return self


class Golden(BaseModel):
    """Inputs and the outputs that the trainer saw for them.

    tolerance: largest difference that is let through, absolute below 1 and relative above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    signature_name: Annotated[str, Field(min_length=1)] = "serving_default"
    inputs: Annotated[dict[str, GoldenInput], Field(min_length=1)]
    outputs: Annotated[dict[str, GoldenOutput], Field(min_length=1)]
    tolerance: Annotated[float, Field(gt=0, le=1)] = TOLERANCE

    def difference(self, answered: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> str | None:
        """What differs, as one sentence; None if every golden output was reproduced.

        answered: output's name to shape and flat values.
        """
        for name, expected in sorted(self.outputs.items()):
            if name not in answered:
                return f"output {name} is missing"
            shape, values = answered[name]
            if tuple(shape) != expected.shape or len(values) != len(expected.values):
                return f"output {name} has shape {list(shape)} instead of {list(expected.shape)}"
            for index, (found, golden) in enumerate(zip(values, expected.values, strict=True)):
                if not abs(found - golden) <= self.tolerance * max(1.0, abs(golden)):
                    return f"output {name}[{index}] is {found:.6g} instead of {golden:.6g}"
        return None
