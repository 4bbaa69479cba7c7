"""Tensors that come back are read the same, however their values were written."""

from __future__ import annotations

import numpy as np
import pytest
from tidemill_gateway.errors import ModelFailed
from tidemill_gateway.plane.tensors import from_wire
from tidemill_gateway.wire import tensor_pb2 as pb


def message(dtype: int, *sizes: int, **values: object) -> pb.TensorProto:
    shape = pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in sizes])
    return pb.TensorProto(dtype=dtype, tensor_shape=shape, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 3, 31, 32, 40, 6_000])
@pytest.mark.parametrize(
    ("dtype", "field", "kind"),
    [(pb.DT_FLOAT, "float_val", np.float32), (pb.DT_DOUBLE, "double_val", np.float64)],
)
def test_typed_fields_and_packed_content_say_the_same(
    count: int, dtype: int, field: str, kind: type[np.floating]
) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(kind)
    values[0] = np.nan

    typed = from_wire(message(dtype, count, 1, **{field: values.tolist()}))
    packed = from_wire(message(dtype, count, 1, tensor_content=values.tobytes()))

    assert typed.dtype == packed.dtype == kind
    assert typed.shape == packed.shape == (count, 1)
    assert typed.tobytes() == packed.tobytes() == values.tobytes()


def test_a_last_value_stands_for_all_that_follow() -> None:
    assert from_wire(message(pb.DT_FLOAT, 4, float_val=[1.0, 2.0])).tolist() == [1.0, 2.0, 2.0, 2.0]


def test_other_fields_beside_the_values_do_not_confuse() -> None:
    read = from_wire(message(pb.DT_FLOAT, 2, float_val=[1.0, 2.0], int_val=[7, 8]))

    assert read.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0]])
def test_values_that_do_not_fill_the_shape_are_refused(values: list[float]) -> None:
    with pytest.raises(ModelFailed, match="2 elements"):
        from_wire(message(pb.DT_FLOAT, 2, float_val=values))


def test_nothing_is_read_as_nothing() -> None:
    assert from_wire(message(pb.DT_FLOAT, 0, 10)).shape == (0, 10)
