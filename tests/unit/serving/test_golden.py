"""Golden predictions are whole and compared as promised."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput


def test_byte_strings_survive_the_file():
    golden = Golden(
        inputs={"image": GoldenInput.of_bytes([b"\x89PNG", b"\x00"])},
        outputs={"y": GoldenOutput(shape=(1,), values=(0.5,))},
    )

    read = Golden.model_validate_json(golden.model_dump_json())

    assert read.inputs["image"].byte_strings() == [b"\x89PNG", b"\x00"]


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "float32", "shape": [2], "values": [1.0]},
        {"dtype": "float32", "shape": [1], "b64": ["AA=="]},
        {"dtype": "string", "shape": [1], "values": [1]},
        {"dtype": "string", "shape": [1], "b64": ["!"]},
        {"dtype": "float16", "shape": [1], "values": [1]},
        {"dtype": "float32", "shape": [-1], "values": []},
    ],
)
def test_an_input_that_does_not_fit_is_refused(tensor):
    with pytest.raises(ValidationError):
        GoldenInput.model_validate(tensor)


def test_the_tolerance_is_relative_above_one():
    golden = Golden(
        inputs={"x": GoldenInput(dtype="float32", shape=(), values=(1.0,))},
        outputs={"y": GoldenOutput(shape=(1,), values=(1000.0,))},
        tolerance=1e-3,
    )

    assert golden.difference({"y": ([1], [1000.9])}) is None
    assert golden.difference({"y": ([1], [1001.1])}) is not None
