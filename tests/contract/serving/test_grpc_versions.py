"""Versions, policies, labels and reloads over gRPC, rule by rule."""

# ruff: noqa: E501  (a rule is one line of the table)
from __future__ import annotations

import shutil
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
)

from tests.contract.serving.grpc_calls import (
    ALL,
    AVAILABLE,
    CODE,
    END,
    HALF,
    X,
    predict_request,
    refused,
    requests_counted,
    status_of,
    wait_until,
)


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
