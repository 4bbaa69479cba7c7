"""TensorFlow Serving's JSON: what is taken, what is refused, how answers are spelled."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_contracts.errors import InvalidInput, Malformed, NotFound, Overloaded, TooLarge, Unavailable
from tidemill_gateway.dialects.fast_rows import read_fast_rows
from tidemill_gateway.dialects.tfserving import render_error
from tidemill_gateway.dialects.tfserving_predict import PredictCall, render
from tidemill_gateway.errors import DeadlineExceeded, ModelFailed, Unsupported
from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer
from tidemill_gateway.plane.signatures import Signature, TensorSpec
from tidemill_gateway.wire import tensor_pb2 as pb


def signature(*inputs: TensorSpec) -> Signature:
    return Signature("serving_default", "", inputs, (TensorSpec("y", pb.DT_FLOAT, (None, 2)),))


def spec(dtype: int, *shape: int | None, name: str = "x") -> TensorSpec:
    return TensorSpec(name, dtype, (None, *shape))


def rows_of(body: Any, taken: Signature) -> Rows:
    return PredictCall(body if isinstance(body, bytes) else json.dumps(body).encode()).rows(taken)


def values_of(rows: Rows, dtype: str, column: int = 0) -> list[Any]:
    content = rows.columns[column].content
    assert isinstance(content, bytes)
    return np.frombuffer(content, dtype=dtype).tolist()


PAIRS = signature(spec(pb.DT_FLOAT, 2))
TWO_INPUTS = signature(spec(pb.DT_FLOAT, 2, name="a"), spec(pb.DT_INT32, name="b"))


def test_rows_of_numbers_are_taken_whole_or_not() -> None:
    rows = rows_of({"instances": [[1, 2.5], [-3e2, 0]]}, PAIRS)

    assert (rows.count, rows.columns[0].row_shape) == (2, (2,))
    assert values_of(rows, "<f4") == [1.0, 2.5, -300.0, 0.0]


def test_named_inputs_become_a_column_each() -> None:
    rows = rows_of({"instances": [{"a": [1, 2], "b": 3}, {"b": 4, "a": [5, 6]}]}, TWO_INPUTS)

    assert values_of(rows, "<f4") == [1, 2, 5, 6]
    assert values_of(rows, "<i4", 1) == [3, 4]


def test_columns_are_the_same_rows_told_otherwise() -> None:
    rows = rows_of({"inputs": {"a": [[1, 2], [5, 6]], "b": [3, 4]}}, TWO_INPUTS)

    assert rows == rows_of({"instances": [{"a": [1, 2], "b": 3}, {"b": 4, "a": [5, 6]}]}, TWO_INPUTS)


def test_strings_are_text_or_base64() -> None:
    rows = rows_of({"instances": ["grüß", {"b64": "/wA="}]}, signature(spec(pb.DT_STRING)))

    assert rows.columns[0].content == ["grüß".encode(), b"\xff\x00"]


def test_an_input_named_b64_still_takes_base64_values() -> None:
    taken = signature(spec(pb.DT_STRING, name="image"))

    rows = rows_of({"instances": [{"image": {"b64": "YQ=="}}]}, taken)

    assert rows.columns[0].content == [b"a"]


def test_nan_and_infinity_are_numbers() -> None:
    rows = rows_of(b'{"instances": [[NaN, -Infinity]]}', PAIRS)

    assert np.isnan(values_of(rows, "<f4")[0])
    assert values_of(rows, "<f4")[1] == -np.inf


def test_the_signature_is_the_one_that_is_named() -> None:
    assert PredictCall(b'{"signature_name": "raw", "instances": [1]}').signature_name == "raw"
    assert PredictCall(b'{"signature\\u005fname": "raw", "instances": [1]}').signature_name == "raw"
    assert PredictCall(b'{"signature_name": "", "instances": [1]}').signature_name == "serving_default"


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (b"", PAIRS),
        (b"  ", PAIRS),
        (b"{", PAIRS),
        (b"not json", PAIRS),
        (b"\xff\xfe", PAIRS),
        (b'{"instances": [[1, 2]]} x', PAIRS),
        ([[1, 2]], PAIRS),
        ({}, PAIRS),
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, PAIRS),
        ({"instances": []}, PAIRS),
        ({"instances": 5}, PAIRS),
        ({"instances": {"x": [1, 2]}}, PAIRS),
        ({"instances": [[1, 2]], "signature_name": 5}, PAIRS),
        ({"instances": [[1, 2], [1]]}, PAIRS),
        ({"instances": [[1, 2, 3]]}, PAIRS),
        ({"instances": [[[1], [2]]]}, PAIRS),
        ({"instances": [1, [2]]}, PAIRS),
        ({"instances": [[1, "2"]]}, PAIRS),
        ({"instances": [[1, True]]}, PAIRS),
        ({"instances": [[1, None]]}, PAIRS),
        ({"instances": [[1, {}]]}, PAIRS),
        ({"instances": [{"x": [1, 2]}, [1, 2]]}, PAIRS),
        ({"instances": [{"z": [1, 2]}]}, PAIRS),
        ({"instances": [[1, 2]]}, TWO_INPUTS),
        ({"instances": [{"a": [1, 2]}]}, TWO_INPUTS),
        ({"instances": [{"a": [1, 2], "b": 2.0}]}, TWO_INPUTS),
        ({"instances": [{"a": [1, 2], "b": 2**31}]}, TWO_INPUTS),
        ({"instances": [{"a": [1, 2], "b": 2**70}]}, TWO_INPUTS),
        ({"inputs": {"a": [[1, 2]]}}, TWO_INPUTS),
        ({"instances": [{"b64": "***"}]}, signature(spec(pb.DT_STRING))),
        ({"instances": [5]}, signature(spec(pb.DT_STRING))),
        ({"instances": [{"b64": 5}]}, signature(spec(pb.DT_STRING))),
        ({"instances": [1]}, signature(spec(pb.DT_BOOL))),
        ({"instances": [-1]}, signature(spec(pb.DT_UINT8))),
        (b'{"instances": ' + b"[" * 2000 + b"]" * 2000 + b"}", PAIRS),
        (b'{"instances": ' + b"[" * 100_000, PAIRS),
        (b'{"instances": [NaN, ' + b"[" * 100_000, PAIRS),
        (b'{"instances": [[1[,2]]]}', PAIRS),
        (b'{"instances": [[1 2]]}', PAIRS),
        (b'{"instances": [[01, 2]]}', PAIRS),
        (b'{"instances": [[1,2],]}', PAIRS),
        ({"inputs": [1, 2]}, signature(TensorSpec("x", pb.DT_FLOAT, (3,)))),
    ],
)
def test_bad_input_is_refused_with_a_reason(body: Any, taken: Signature) -> None:
    with pytest.raises(InvalidInput) as refused:
        rows_of(body, taken)

    status, said = render_error(refused.value)
    assert status == 400
    assert 10 < len(json.loads(said)["error"]) < 600


def test_types_that_json_cannot_carry_are_not_implemented() -> None:
    with pytest.raises(Unsupported) as refused:
        rows_of({"instances": [1.0]}, signature(spec(pb.DT_HALF)))

    assert render_error(refused.value)[0] == 501


def test_a_model_without_row_dimension_takes_columns_alone() -> None:
    taken = signature(TensorSpec("x", pb.DT_FLOAT, (2,)))

    assert rows_of({"inputs": [1, 2]}, taken).batchable is False
    with pytest.raises(Malformed, match="use 'inputs'"):
        rows_of({"instances": [[1, 2]]}, taken)


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


@given(
    st.lists(st.lists(FLOATS, min_size=2, max_size=2), min_size=1, max_size=5), st.sampled_from([None, 1, 2])
)
def test_the_fast_way_and_the_general_way_agree(instances: list[list[float]], indent: int | None) -> None:
    body = json.dumps({"instances": instances}, indent=indent).encode()

    fast = read_fast_rows(body, PAIRS)
    general = rows_of(body.replace(b"instances", b"insta\\u006eces"), PAIRS)

    if fast is not None:  # numbers beyond a double's range take the general way
        assert (fast[0], fast[1]) == (general.columns[0], general.count)


@pytest.mark.parametrize(
    "instances", ["[[1,2],[3]]", "[[1,2,3]]", "[1,[2]]", "[[[1,2]]]", "[]", "5", "[[1,true]]"]
)
def test_the_fast_way_leaves_what_is_odd_to_the_general_way(instances: str) -> None:
    assert read_fast_rows(f'{{"instances":{instances}}}'.encode(), PAIRS) is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_rows_or_a_refusal(noise: bytes) -> None:
    for body in (noise, b'{"instances":' + noise + b"}", b'{"inputs":' + noise + b"}"):
        with contextlib.suppress(InvalidInput):
            assert rows_of(body, PAIRS).count > 0


def test_the_json_corpus_is_refused_or_read_and_never_breaks_the_parser(data_folder: Path) -> None:
    cases = sorted((data_folder / "json_test_suite" / "test_parsing").glob("*.json"))
    assert len(cases) > 300

    for case in cases:
        raw = case.read_bytes()
        for body in (raw, b'{"instances":' + raw + b"}"):
            try:
                rows_of(body, PAIRS)
            except InvalidInput:
                continue
            assert not case.name.startswith("n_"), case.name


def answer(**outputs: Any) -> Answer:
    arrays = {
        name: value if isinstance(value, np.ndarray) else np.array(value) for name, value in outputs.items()
    }
    return Answer(arrays, "digits", 1, 1, 0.0, 0.0)


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    ("outputs", "columnar", "said"),
    [
        ({"y": np.array([[0.1, 2.0]], np.float32)}, False, b'{"predictions":[[0.1,2.0]]}'),
        ({"y": np.array([[0.1, 2.0]], np.float32)}, True, b'{"outputs":[[0.1,2.0]]}'),
        ({"y": np.array([1, 2], np.int64)}, False, b'{"predictions":[1,2]}'),
        ({"y": np.array([True])}, False, b'{"predictions":[true]}'),
        ({"y": np.array([0.1, np.nan, -np.inf], np.float32)}, False, b'{"predictions":[0.1,NaN,-Infinity]}'),
        ({"y": strings(b"a", "ü".encode())}, False, '{"predictions":["a","ü"]}'.encode()),
        ({"y": strings(b"\xff")}, False, b'{"predictions":[{"b64":"/w=="}]}'),
        ({"y_bytes": strings(b"a")}, False, b'{"predictions":[{"b64":"YQ=="}]}'),
        (
            {"a": np.array([1, 2]), "b": np.array([[3], [4]])},
            False,
            b'{"predictions":[{"a":1,"b":[3]},{"a":2,"b":[4]}]}',
        ),
        ({"a": np.array([1, 2]), "b": np.array([3])}, True, b'{"outputs":{"a":[1,2],"b":[3]}}'),
    ],
)
def test_answers_are_spelled_as_tensorflow_serving_spells_them(
    outputs: dict[str, Any], columnar: bool, said: bytes
) -> None:
    assert render(answer(**outputs), columnar=columnar) == said


@pytest.mark.parametrize("outputs", [{"y": np.float32(1)}, {"a": np.zeros(2), "b": np.zeros(3)}])
def test_rows_are_not_made_up_where_the_model_keeps_none(outputs: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="use 'inputs'"):
        render(answer(**outputs), columnar=False)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Malformed("x"), 400),
        (InvalidInput("x"), 400),
        (NotFound("x"), 404),
        (TooLarge("x"), 413),
        (Overloaded("x"), 429),
        (Unsupported("x"), 501),
        (Unavailable("x"), 503),
        (DeadlineExceeded("x"), 504),
        (ModelFailed("x"), 500),
    ],
)
def test_errors_have_tensorflow_servings_status(error: Any, status: int) -> None:
    assert render_error(error) == (status, b'{"error":"x"}')
