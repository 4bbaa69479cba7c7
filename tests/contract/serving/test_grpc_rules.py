"""gRPC, rule by rule: what is asked, what is answered."""

# ruff: noqa: E501  (a rule is one line of the table)
from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    regression_pb2,
)

from tests.contract.serving.grpc_calls import (
    AVAILABLE,
    CODE,
    HALF,
    X,
    predict_request,
    refused,
    status_of,
)

SIZES = "input size does not match signature: {}. Sent extra: {}. Missing but required: {}."

REFUSALS = [
    ("no name", predict_request("", x=X), CODE.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    ("unknown model", predict_request("nope", x=X), CODE.NOT_FOUND, "Servable not found for request: Latest(nope)"),
    ("unknown version", predict_request(version=9, x=X), CODE.NOT_FOUND, "Servable not found for request: Specific(half_plus_two, 9)"),
    ("unknown label", predict_request(label="nope", x=X), CODE.INVALID_ARGUMENT, "Unrecognized servable version label: nope"),
    ("unknown signature", predict_request(signature="nope", x=X), CODE.FAILED_PRECONDITION, 'Serving signature key "nope" not found.'),
    ("a signature of an odd method", predict_request(signature="odd_method", x=X), CODE.INTERNAL, "Expected prediction signature method_name to be one of {tensorflow/serving/predict, tensorflow/serving/classify, tensorflow/serving/regress}. Was: something/else"),
    ("too few inputs", predict_request(), CODE.INVALID_ARGUMENT, SIZES.format("0!=1 len({}) != len({x})", "{}", "{x}")),
    ("too many inputs", predict_request(x=X, z=X), CODE.INVALID_ARGUMENT, SIZES.format("2!=1 len({x,z}) != len({x})", "{z}", "{}")),
    ("another input", predict_request(z=X), CODE.INVALID_ARGUMENT, "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs expected to be in the request {z}, or default input alias set: "),
    ("an output that is none", predict_request(x=X, outputs=["z"]), CODE.INVALID_ARGUMENT, "output tensor alias not found in signature: z Outputs expected to be in the set {y}."),
    ("an output twice", predict_request(x=X, outputs=["y", "y"]), CODE.INVALID_ARGUMENT, "duplicate output tensor alias: y"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "request_", "code", "text"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_predict_refuses(server, rule, request_, code, text):
    assert refused(server.prediction.Predict, request_) == (code, text)


@pytest.mark.parametrize(
    ("asked", "version", "answer"),
    [
        (predict_request(x=X), 2, [3.5, 4.0]),
        (predict_request(x=X, version=1), 1, [2.5, 3.0]),
        (predict_request(x=X, label="stable"), 1, [2.5, 3.0]),
        (predict_request(x=X, outputs=["y"], signature="serving_default"), 2, [3.5, 4.0]),
    ],
)
def test_predict_says_model_signature_and_version(server, asked, version, answer):
    response = server.prediction.Predict(asked, timeout=60)

    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (
        "half_plus_two",
        "serving_default",
        version,
    )
    assert tf.make_ndarray(response.outputs["y"]).ravel().tolist() == answer


def test_outputs_come_in_typed_fields(server):
    response = server.prediction.Predict(predict_request(x=X), timeout=60)

    assert list(response.outputs["y"].float_val) == [3.5, 4.0]
    assert response.outputs["y"].tensor_content == b""


def test_a_tensor_that_cannot_be_parsed_is_named(server):
    request = predict_request(x=X)
    request.inputs["x"].tensor_content = b"\x00"

    assert refused(server.prediction.Predict, request) == (
        CODE.INVALID_ARGUMENT,
        "tensor parsing error: x",
    )


def test_a_wrong_type_is_an_invalid_argument(server):
    code, _ = refused(server.prediction.Predict, predict_request(x=np.array([[1]], np.int32)))

    assert code is CODE.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "name", ["float32", "float64", "int8", "int64", "uint64", "bool", "half", "bfloat16", "complex64"]
)
def test_every_type_comes_back(server, name):
    dtype = tf.dtypes.as_dtype(name).as_numpy_dtype
    given = np.array([0, 1, 1]).astype(dtype)

    response = server.prediction.Predict(predict_request("types", signature=name, x=given), timeout=60)

    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), given)


def test_a_default_of_the_signature_stands_in_for_a_missing_input(server):
    response = server.prediction.Predict(predict_request("with_default", a=[1.0, 2.0]), timeout=60)

    assert list(response.outputs["sum"].float_val) == [11.0, 12.0]


def test_state_lasts_between_calls(server):
    request = predict_request("counter", by=np.array([1], np.int64))
    calls = [server.prediction.Predict(request).outputs["calls"].int64_val[0] for _ in range(3)]

    assert calls == [calls[0], calls[0] + 1, calls[0] + 2]


def examples(request, *values):
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def inference(kind, signature, *values, model="half_plus_two"):
    request = kind()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    return examples(request, *values)


def test_classify_gives_labels_and_scores(server):
    response = server.prediction.Classify(
        inference(classification_pb2.ClassificationRequest, "classify", 1.0, 2.0), timeout=60
    )

    listed = [[(c.label, c.score) for c in each.classes] for each in response.result.classifications]
    assert listed == [[("low", 3.5)], [("low", 4.0)]]
    assert response.model_spec.version.value == 2


def test_regress_gives_values(server):
    response = server.prediction.Regress(
        inference(regression_pb2.RegressionRequest, "regress", 1.0, 2.0), timeout=60
    )

    assert [each.value for each in response.result.regressions] == [3.5, 4.0]


@pytest.mark.parametrize(
    ("signature", "values", "text"),
    [
        ("nope", [1.0], "No signature was found with the name: nope"),
        ("serving_default", [1.0], "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/predict"),
        ("regress", [], "Input is empty."),
    ],
)  # fmt: skip
def test_regress_refuses(server, signature, values, text):
    request = inference(regression_pb2.RegressionRequest, signature, *values)

    assert refused(server.prediction.Regress, request) == (CODE.INVALID_ARGUMENT, text)


def tasks(*listed):
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in listed:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = model
        task.model_spec.signature_name = signature
    return examples(request, 1.0)


def test_multi_inference_answers_every_task(server):
    response = server.prediction.MultiInference(
        tasks((HALF, "regress", "regress"), (HALF, "classify", "classify")), timeout=60
    )

    assert response.results[0].regression_result.regressions[0].value == 3.5
    assert response.results[1].classification_result.classifications[0].classes[0].label == "low"


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (tasks((HALF, "regress", "regress"), ("several", "x", "regress")), CODE.INVALID_ARGUMENT, "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        (tasks((HALF, "regress", "regress"), (HALF, "regress", "regress")), CODE.INVALID_ARGUMENT, "Duplicate evaluation of signature: regress"),
        (tasks((HALF, "nope", "regress")), CODE.INVALID_ARGUMENT, "Requested signature not found in model graph: nope"),
        (tasks((HALF, "serving_default", "predict")), CODE.UNIMPLEMENTED, "Unsupported signature method_name: tensorflow/serving/predict"),
    ],
)  # fmt: skip
def test_multi_inference_refuses(server, request_, code, text):
    assert refused(server.prediction.MultiInference, request_) == (code, text)


def metadata_request(*fields, model=HALF):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if model is not None:
        request.model_spec.name = model
    return request


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (metadata_request("signature_def", model=None), CODE.INVALID_ARGUMENT, "Missing ModelSpec"),
        (metadata_request(), CODE.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field"),
        (metadata_request("assets"), CODE.INVALID_ARGUMENT, "Metadata field assets is not supported"),
        (metadata_request("signature_def", model="nope"), CODE.NOT_FOUND, "Servable not found for request: Latest(nope)"),
    ],
)  # fmt: skip
def test_metadata_refuses(server, request_, code, text):
    assert refused(server.prediction.GetModelMetadata, request_) == (code, text)


def test_metadata_says_the_version_that_was_meant(server):
    request = metadata_request("signature_def")
    request.model_spec.version_label = "stable"

    response = server.prediction.GetModelMetadata(request, timeout=60)

    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 1
    assert "regress" in signatures.signature_def


def test_a_leading_zero_is_no_part_of_a_version(server):
    assert status_of(server, HALF) == {2: (AVAILABLE, 0), 1: (AVAILABLE, 0)}
