"""Weights as a file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from tidemill_contracts.errors import Corrupt
from tidemill_trainer.recipes.recipe import Weights
from tidemill_trainer.weights import dump_weights, load_weights, weights_digest

WEIGHTS: Weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.int64), np.array(3.0)]


def test_weights_come_back_in_order_with_shape_and_type() -> None:
    found = load_weights(dump_weights(WEIGHTS), "weights")

    assert [(each.shape, each.dtype) for each in found] == [(each.shape, each.dtype) for each in WEIGHTS]
    assert weights_digest(found) == weights_digest(WEIGHTS)


def test_the_same_weights_are_the_same_bytes() -> None:
    assert dump_weights(WEIGHTS) == dump_weights([each.copy() for each in WEIGHTS])


def test_more_than_ten_arrays_keep_their_order() -> None:
    many = [np.array([number]) for number in range(25)]

    assert [int(each[0]) for each in load_weights(dump_weights(many), "weights")] == list(range(25))


@pytest.mark.parametrize("data", [b"", b"nonsense", dump_weights(WEIGHTS)[:-40]])
def test_bytes_that_are_no_weights_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        load_weights(data, "weights")


def test_pickled_objects_are_never_loaded() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, evil=np.array([{"a": 1}], dtype=object))

    with pytest.raises(Corrupt):
        load_weights(buffer.getvalue(), "weights")


def test_another_value_shape_or_type_is_another_digest() -> None:
    zeros = np.zeros((2, 3), np.float32)
    variants: Weights = [zeros, zeros + 1, zeros.reshape(3, 2), zeros.astype(np.float64)]

    assert len({weights_digest([each]) for each in variants}) == 4
