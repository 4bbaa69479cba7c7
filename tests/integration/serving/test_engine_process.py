"""The engine as a process: flags, files, signals, sockets."""
# ruff: noqa: S310  (the only address opened is the engine's)

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tidemill_serving.engine.states import State

BINARY = str(Path(sys.executable).parent / "tidemill-model-server")


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=180, check=False)


def ask(engine, model="scaler", value=3.0):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([value], tf.float32))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(engine.channel)
    response = stub.Predict(request, timeout=30)
    return response.model_spec.version.value, response.outputs["y"].float_val[0]


def post(port: int, path: str, body: object, **headers: str) -> tuple[int, dict, dict]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=json.dumps(body).encode(), method="POST", headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply), dict(reply.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


@pytest.fixture
def base(tmp_path, scaler, write_version):
    path = tmp_path / "scaler"
    path.mkdir()
    write_version(path, 1, scaler(1.0))
    return path


def test_version_names_both():
    found = run("--version")

    assert found.returncode == 0
    assert found.stdout.startswith("TensorFlow ModelServer: ")
    assert "TensorFlow Library: " in found.stdout


def test_a_wrong_flag_is_told_with_the_usage():
    found = run("--nonsense=1")

    assert found.returncode != 0
    assert "unknown argument: --nonsense=1" in found.stderr
    assert "--model_base_path" in found.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("nonsense {", "Invalid protobuf file: "),
        (
            'model_config_list { config { name: "m" base_path: "relative" model_platform: "tensorflow" } }',
            "Expected model m to have an absolute path or URI; got base_path()=relative",
        ),
    ],
)
def test_a_bad_config_ends_with_the_servers_words(tmp_path, text, said):
    path = tmp_path / "models.config"
    if text is not None:
        path.write_text(text)

    found = run("--port=0", f"--model_config_file={path}")

    assert found.returncode != 0
    assert said in found.stderr


def test_batching_parameters_want_batching(tmp_path):
    path = tmp_path / "batching.txt"
    path.write_text("max_batch_size { value: 8 }")

    found = run("--port=0", f"--batching_parameters_file={path}")

    assert found.returncode != 0
    assert "server_options.batching_parameters_file is set without setting" in found.stderr


def test_it_starts_without_a_model_and_says_that_it_is_healthy(start_engine):
    engine = start_engine()

    stub = health_pb2_grpc.HealthStub(engine.channel)

    for service in ("", "ModelService", "PredictionService"):
        reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_new_versions_are_found_by_looking(start_engine, base, scaler, write_version, wait_until):
    engine = start_engine("--model_name=scaler", f"--model_base_path={base}")
    assert ask(engine) == (1, 3.0)

    write_version(base, 2, scaler(2.0))

    wait_until(lambda: ask(engine) == (2, 6.0))


def test_a_version_that_appears_slowly_is_tried_again(start_engine, base, scaler, write_version, wait_until):
    flags = ["--max_num_load_retries=100", "--load_retry_interval_micros=50000"]
    engine = start_engine("--model_name=scaler", f"--model_base_path={base}", *flags)
    half_copied = base / "2"
    half_copied.mkdir()
    wait_until(lambda: 2 in engine.server.states("scaler"))

    for path, data in scaler(2.0).items():
        (half_copied / path).parent.mkdir(parents=True, exist_ok=True)
        (half_copied / path).write_bytes(data)

    wait_until(lambda: ask(engine) == (2, 6.0))


def config_text(*models: tuple[str, Path]) -> str:
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
        for name, path in models
    )
    return f"model_config_list {{ {entries} }}"


def test_a_config_file_is_looked_at_again_and_a_broken_one_changes_nothing(
    start_engine, base, tmp_path, wait_until
):
    path = tmp_path / "models.config"
    path.write_text(config_text(("first", base)))
    engine = start_engine(f"--model_config_file={path}", "--model_config_file_poll_wait_seconds=1")
    assert ask(engine, "first") == (1, 3.0)

    path.write_text(config_text(("second", base))[:40])
    wait_until(lambda: "config_refused" in engine.process.text)
    assert ask(engine, "first") == (1, 3.0)
    path.write_text(config_text(("second", base)))

    wait_until(lambda: engine.server.states("second").get(1) is not None)
    wait_until(lambda: engine.server.states("second")[1].state is State.AVAILABLE)
    wait_until(lambda: engine.server.states("first")[1].state is State.END)


def test_sigterm_under_load_fails_no_request_that_was_taken(start_engine, base, free_port):
    engine = start_engine("--model_name=scaler", f"--model_base_path={base}", f"--rest_api_port={free_port}")
    wrong: list[str] = []
    answered: list[int] = []

    def call() -> None:
        while True:
            try:
                status, body, _ = post(free_port, "/v1/models/scaler:predict", {"instances": [3.0]})
            except urllib.error.URLError as error:
                if isinstance(error.reason, ConnectionRefusedError):
                    return  # it no longer listens: the request was not taken
                wrong.append(repr(error))
                return
            except OSError as error:
                wrong.append(repr(error))
                return
            answered.append(status)
            if status != 200:
                wrong.append(str(body))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 50:
        assert threads[0].is_alive(), wrong

    code = engine.stop(signal.SIGTERM)
    for thread in threads:
        thread.join(30)

    assert code == 0
    assert wrong == []


class Spinner(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="turns")])
    def spin(self, turns):
        matrix = tf.eye(64)
        for _ in tf.range(tf.cast(turns[0], tf.int32)):
            matrix = tf.linalg.l2_normalize(matrix @ matrix)
        return {"sum": tf.reduce_sum(matrix)[tf.newaxis]}


def test_a_rest_request_is_given_up_at_the_flags_timeout(start_engine, tmp_path, free_port):
    module = Spinner()
    tf.saved_model.save(module, str(tmp_path / "spinner" / "1"), signatures={"serving_default": module.spin})
    engine = start_engine(
        "--model_name=spinner",
        f"--model_base_path={tmp_path}/spinner",
        f"--rest_api_port={free_port}",
        "--rest_api_timeout_in_ms=400",
    )

    status, body, _ = post(free_port, "/v1/models/spinner:predict", {"instances": [1e9]})
    cpu = psutil.Process(engine.process.popen.pid)
    used_s = sum(cpu.cpu_times()[:2])
    threading.Event().wait(0.5)

    assert (status, list(body)) == (504, ["error"])
    assert sum(cpu.cpu_times()[:2]) - used_s < 0.4, "the run goes on"
    assert post(free_port, "/v1/models/spinner:predict", {"instances": [1.0]})[0] == 200


def test_a_reload_tells_how_many_loads_it_took(start_engine, base):
    engine = start_engine()
    request = model_management_pb2.ReloadConfigRequest(
        metric_names=["/tensorflow/cc/saved_model/load_attempt_count"]
    )
    request.config.model_config_list.config.add(
        name="scaler", base_path=str(base), model_platform="tensorflow"
    )

    response = model_service_pb2_grpc.ModelServiceStub(engine.channel).HandleReloadConfigRequest(
        request, timeout=60
    )

    assert [metric.int64_value_increase for metric in response.metric] == [1]


def test_cors_headers_come_when_asked_for(start_engine, base, free_port):
    start_engine(
        "--model_name=scaler",
        f"--model_base_path={base}",
        f"--rest_api_port={free_port}",
        "--enable_cors_support=true",
    )

    status, _, headers = post(
        free_port, "/v1/models/scaler:predict", {"instances": [1.0]}, Origin="https://a.example"
    )

    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_batched_answers_are_the_same(start_engine, base, tmp_path):
    path = tmp_path / "batching.txt"
    path.write_text("max_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 4")
    engine = start_engine(
        "--model_name=scaler",
        f"--model_base_path={base}",
        "--enable_batching",
        f"--batching_parameters_file={path}",
    )
    answers: dict[float, tuple[int, float]] = {}
    threads = [
        threading.Thread(target=lambda value=value: answers.update({value: ask(engine, value=value)}))
        for value in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert answers == {value: (1, float(value)) for value in range(40)}


def test_tflite_files_are_served_when_preferred(start_engine, tmp_path, free_port):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def half_plus_two(x):
        return {"y": 0.5 * x + 2.0}

    module = tf.Module()
    module.f = half_plus_two
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": half_plus_two})
    converters = {
        "with_signature": tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")),
        "without": tf.lite.TFLiteConverter.from_concrete_functions(
            [half_plus_two.get_concrete_function()], module
        ),
    }
    for name, converter in converters.items():
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.tflite").write_bytes(converter.convert())
    path = tmp_path / "models.config"
    path.write_text(config_text(*((name, tmp_path / name) for name in converters)))

    start_engine(f"--model_config_file={path}", f"--rest_api_port={free_port}", "--prefer_tflite_model=true")
    answers = {
        name: post(free_port, f"/v1/models/{name}:predict", {"instances": [[1.0], [2.0]]})[:2]
        for name in converters
    }

    assert answers == dict.fromkeys(converters, (200, {"predictions": [[2.5], [3.0]]}))
