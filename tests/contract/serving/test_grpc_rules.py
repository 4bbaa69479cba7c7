"""gRPC, rule by rule: what is asked, what is answered."""
# ruff: noqa: E501  (a rule is one line of the table)

from __future__ import annotations

import re
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

AVAILABLE, END = 30, 50
CODE = grpc.StatusCode
ALL = "model_version_policy { all {} }"


def predict_request(model="half_plus_two", *, signature="", version=None, label=None, outputs=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for alias, value in inputs.items():
        tensor = value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(tensor))
    return request


def refused(call, request):
    """Code and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    return caught.value.code(), caught.value.details()


def status_of(server, model, version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    response = server.model.GetModelStatus(request, timeout=60)
    return {each.version: (each.state, each.status.error_code) for each in response.model_version_status}


def wait_until(is_true, seconds=120.0):
    end_s = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def requests_counted(server):
    text = server.http("GET", "/monitoring/prometheus/metrics").body.decode()
    return sum(
        int(count) for count in re.findall(r"^:tensorflow:serving:request_count{.*} (\d+)$", text, re.M)
    )


X = [[1.0], [2.0]]
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


HALF = "half_plus_two"


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


@pytest.mark.parametrize(("version", "text"), [(None, "Could not find any versions of model nope"), (3, "Could not find version 3 of model nope")])  # fmt: skip
def test_status_of_what_is_not_there_is_not_found(server, version, text):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "nope"
    if version is not None:
        request.model_spec.version.value = version

    assert refused(server.model.GetModelStatus, request) == (CODE.NOT_FOUND, text)


ENTRY = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" {} }}'
RELOADS = [
    ("a name twice", ENTRY.format("m", "/m", "") * 2, CODE.INVALID_ARGUMENT, "Illegal to list model m multiple times in config list"),
    ("a relative path", ENTRY.format("m", "m", ""), CODE.INVALID_ARGUMENT, "Expected model m to have an absolute path or URI; got base_path()=m"),
    ("another platform", 'config { name: "half_plus_two" base_path: "/m" model_platform: "other" }', CODE.INVALID_ARGUMENT, None),
    ("no platform", 'config { name: "m" base_path: "/m" }', CODE.INVALID_ARGUMENT, None),
    ("a label on what is not available", ENTRY.format(HALF, "ROOT/half_plus_two", ALL + 'version_labels { key: "x" value: 7 }'), CODE.FAILED_PRECONDITION, "Request to assign label to version 7 of model half_plus_two, which is not currently available for inference"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "entries", "code", "text"), RELOADS, ids=[r[0] for r in RELOADS])
def test_reload_refuses_and_changes_nothing(server, rule, entries, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        server.reload(f"model_config_list {{ {entries} }}")

    assert caught.value.code() is code
    assert text in {None, caught.value.details()}
    assert server.prediction.Predict(predict_request(x=X, label="stable")).model_spec.version.value == 1


def test_reload_takes_model_lists_only(server):
    code, text = refused(server.model.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())

    assert code is CODE.INVALID_ARGUMENT
    assert text.startswith("ServerModelConfig type not supported by HandleReloadConfigRequest.")


def test_a_model_that_is_left_out_is_unloaded(server):
    server.serve(several="")

    wait_until(lambda: set(status_of(server, HALF).values()) == {(END, 0)})
    assert refused(server.prediction.Predict, predict_request(x=X))[0] is CODE.NOT_FOUND


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", {2}),
        ("model_version_policy { latest { num_versions: 2 } }", {1, 2}),
        (ALL, {1, 2}),
        ("model_version_policy { specific { versions: 1 } }", {1}),
        ("model_version_policy { specific { versions: 1 versions: 7 } }", {1}),
    ],
)
def test_a_policy_serves_its_versions(server, policy, versions):
    server.serve(half_plus_two=policy)

    def served():
        return {v for v, (state, _) in status_of(server, HALF).items() if state == AVAILABLE}

    wait_until(lambda: served() == versions)


def test_a_model_that_does_not_load_is_told_and_disturbs_no_other(server):
    with pytest.raises(grpc.RpcError) as caught:
        server.serve(half_plus_two=ALL, broken="")

    assert caught.value.code() is CODE.UNKNOWN
    assert caught.value.details().startswith("Some models did not become available: {")
    assert "broken" in caught.value.details()
    (state, code) = status_of(server, "broken")[1]
    assert state == END
    assert code != 0
    assert server.prediction.Predict(predict_request(x=X)).model_spec.version.value == 2


def test_versions_change_under_load_without_an_error(server, zoo):
    base = zoo / "rolling"
    base.mkdir()
    shutil.copytree(zoo / HALF / "1", base / "1")
    server.serve(rolling="")
    stop, wrong, seen = threading.Event(), [], set()

    def call():
        request = predict_request("rolling", x=X)
        while not stop.is_set():
            try:
                response = server.prediction.Predict(request, timeout=60)
            except grpc.RpcError as error:
                wrong.append(error.details())
                continue
            seen.add(response.model_spec.version.value)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: seen == {1})
        shutil.copytree(zoo / HALF / "00000002", base / "copying")
        (base / "copying").rename(base / "2")
        wait_until(lambda: 2 in seen and status_of(server, "rolling").get(1, (0,))[0] == END)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert seen == {1, 2}


def test_an_empty_folder_unloads_everything_and_a_missing_one_nothing(server, zoo):
    base = zoo / "vanishing"
    shutil.copytree(zoo / HALF / "1", base / "1")
    server.serve(vanishing="")
    hidden = zoo / "hidden"

    base.rename(hidden)
    time_of_two_polls_s = 2.5
    time.sleep(time_of_two_polls_s)  # nothing must happen: there is no condition to wait for
    assert status_of(server, "vanishing")[1][0] == AVAILABLE
    hidden.rename(base)
    shutil.rmtree(base / "1")

    wait_until(lambda: status_of(server, "vanishing")[1][0] == END)


def test_warm_up_records_were_replayed_before_the_first_answer(server):
    server.serve(warmed="")

    response = server.prediction.Predict(predict_request("warmed", by=np.array([1], np.int64)))

    assert response.outputs["calls"].int64_val[0] == 4


def test_a_deadline_that_has_passed_is_told(server):
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(predict_request(x=X), timeout=1e-6)

    assert caught.value.code() is CODE.DEADLINE_EXCEEDED


def test_a_run_ends_at_its_callers_deadline(server):
    """Eight such calls would keep every core busy for hours if they ran on."""
    request = predict_request("several", signature="spin", turns=np.array([1e9], np.float32))
    calls = [server.prediction.Predict.future(request, timeout=0.3) for _ in range(8)]
    codes = [call.code() for call in calls]

    assert codes == [CODE.DEADLINE_EXCEEDED] * 8
    answer = server.prediction.Predict(predict_request(x=X), timeout=60)
    assert answer.outputs["y"].float_val[:] == [3.5, 4.0]


def test_a_reload_says_that_it_is_done_and_how_much_metrics_rose(server):
    request = model_management_pb2.ReloadConfigRequest()
    request.metric_names.extend(["/tensorflow/serving/request_count", "no such metric"])
    request.config.model_config_list.config.add(
        name="half_plus_two", base_path=str(server.models / HALF), model_platform="tensorflow"
    )

    before = requests_counted(server)
    response = server.model.HandleReloadConfigRequest(request, timeout=60)
    most = requests_counted(server) - before  # calls whose callers gave up may end, and count, meanwhile

    assert response.status.error_code == 0
    rises = {metric.name: metric.int64_value_increase for metric in response.metric}
    assert 0 <= rises.pop("/tensorflow/serving/request_count") <= most
    assert rises == {"no such metric": 0}


def test_a_reload_storm_leaves_the_last_configuration(server):
    def storm(turn):
        server.serve(**({"half_plus_two": ALL} if turn % 2 else {"half_plus_two": ALL, "several": ""}))

    threads = [threading.Thread(target=storm, args=(turn,)) for turn in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.serve(half_plus_two=ALL)

    assert server.prediction.Predict(predict_request(x=X), timeout=60).model_spec.version.value == 2
    wait_until(lambda: status_of(server, "several")[1][0] == END)
