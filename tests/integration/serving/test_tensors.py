"""Tensors survive the wire as TensorFlow reads and writes them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tidemill_serving.engine.status import Code, StatusError
from tidemill_serving.engine.tensors import fill_proto, to_array

NUMERIC = [
    "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool", "float16", "bfloat16", "complex64", "complex128",
]  # fmt: skip


def example(name: str) -> np.ndarray:
    dtype = tf.dtypes.as_dtype(name).as_numpy_dtype
    return np.array([[0, 1, 2], [100, 1, 0]]).astype(dtype)


@pytest.mark.parametrize("name", NUMERIC)
def test_a_tensor_comes_back_as_it_was(name):
    proto = tensor_pb2.TensorProto()

    fill_proto(proto, example(name))

    np.testing.assert_array_equal(to_array(proto, "x"), example(name))
    np.testing.assert_array_equal(tf.make_ndarray(proto), example(name))


@pytest.mark.parametrize("name", NUMERIC)
def test_packed_bytes_are_read_as_tensorflow_wrote_them(name):
    proto = tf.make_tensor_proto(example(name))

    np.testing.assert_array_equal(to_array(proto, "x"), example(name))


def test_strings_come_back_as_bytes():
    proto = tensor_pb2.TensorProto()

    fill_proto(proto, np.array([[b"a", b"\xff\x00"]], object))

    assert to_array(proto, "x").tolist() == [[b"a", b"\xff\x00"]]


def test_strings_in_tensor_content_are_read():
    proto = tensor_pb2.TensorProto(dtype=7, tensor_content=b"\x01\x02abc")
    proto.tensor_shape.dim.add(size=2)

    assert to_array(proto, "x").tolist() == [b"a", b"bc"]


@pytest.mark.parametrize(
    ("given", "expected"), [([], [0, 0, 0]), ([1, 2], [1, 2, 2]), ([1, 2, 3, 4], [1, 2, 3])]
)
def test_missing_values_repeat_the_last_and_none_are_zero(given, expected):
    proto = tensor_pb2.TensorProto(dtype=1, float_val=given)
    proto.tensor_shape.dim.add(size=3)

    assert to_array(proto, "x").tolist() == expected


def test_an_empty_tensor_keeps_its_shape():
    proto = tensor_pb2.TensorProto()

    fill_proto(proto, np.zeros((0, 3), np.float32))

    assert to_array(proto, "x").shape == (0, 3)


def _proto(dtype: int, sizes: list[int], **fields: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        _proto(0, [1]),
        _proto(21, [1]),
        _proto(120, [1]),
        _proto(1, [-1]),
        _proto(1, [2**40, 2**40]),
        _proto(1, [3], tensor_content=b"\x00" * 11),
        _proto(7, [2], tensor_content=b"\x05\x05a"),
        _proto(7, [3], tensor_content=b"\x80"),
    ],
)
def test_what_does_not_fit_is_a_parsing_error(proto):
    with pytest.raises(StatusError) as caught:
        to_array(proto, "x")

    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == "tensor parsing error: x"
