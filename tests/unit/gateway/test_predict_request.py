"""Requests that are written without protobuf's objects are the ones that protobuf would write."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import Int64Value
from hypothesis import given, settings
from hypothesis import strategies as st
from tidemill_gateway.wire import predict_pb2, predict_request
from tidemill_gateway.wire import tensor_pb2 as pb

NAMES = st.text(max_size=200)
SIZES = st.lists(st.integers(0, 2**62), max_size=6).map(tuple)
CONTENTS = st.binary(max_size=300) | st.sampled_from([bytes(16_383), bytes(16_384)])
INPUTS = st.dictionaries(
    NAMES, st.tuples(st.sampled_from([pb.DT_FLOAT, pb.DT_INT64]), SIZES, CONTENTS), max_size=3
)


@settings(deadline=None)
@given(NAMES, st.integers(1, 2**63 - 1), NAMES, st.lists(NAMES, max_size=3).map(tuple), INPUTS)
def test_a_request_reads_as_protobuf_itself_would_have_written_it(
    model: str,
    version: int,
    signature: str,
    output_filter: tuple[str, ...],
    inputs: dict[str, tuple[int, tuple[int, ...], bytes]],
) -> None:
    parts = [predict_request.head(model, version, signature, output_filter)]
    right = predict_pb2.PredictRequest(
        model_spec=predict_pb2.ModelSpec(
            name=model, version=Int64Value(value=version), signature_name=signature
        ),
        output_filter=output_filter,
    )
    for name, (dtype, sizes, content) in inputs.items():
        parts += predict_request.numbers(name, dtype, sizes, content)
        tensor = right.inputs[name]
        tensor.dtype, tensor.tensor_content = dtype, content  # type: ignore[assignment]
        tensor.tensor_shape.SetInParent()
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)

    assert predict_pb2.PredictRequest.FromString(b"".join(parts)) == right


def test_strings_stand_beside_numbers() -> None:
    words = pb.TensorProto(dtype=pb.DT_STRING, string_val=[b"a", b""])

    data = b"".join(
        [
            predict_request.head("m", 1, "s", ()),
            predict_request.tensor("words", words),
            *predict_request.numbers("x", pb.DT_FLOAT, (1,), b"\0\0\0\0"),
        ]
    )

    read = predict_pb2.PredictRequest.FromString(data)
    assert read.inputs["words"] == words
    assert read.inputs["x"].tensor_content == b"\0\0\0\0"
