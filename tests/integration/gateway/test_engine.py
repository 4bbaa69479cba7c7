"""The gateway before the real engine, asked by TensorFlow Serving's own client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.emulators.gateway_process import WAIT_S, GatewayProcess, wait_until
from tests.emulators.machine import free_port

HERE = Path(__file__).parent
START_S_MAX = 60.0


class Line(NamedTuple):
    """A gateway before an engine."""

    gateway: GatewayProcess
    grpc_address: str


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("engine")
    subprocess.run([sys.executable, HERE / "small_model.py", folder], check=True, capture_output=True)
    socket = folder / "grpc.sock"
    engine = subprocess.Popen(
        [
            Path(sys.executable).with_name("tidemill-model-server"),
            "--port=0",
            f"--grpc_socket_path={socket}",
            "--model_name=digits",
            f"--model_base_path={folder}",
        ]
    )
    store, port = folder / "store", free_port()
    (store / "models" / "digits").mkdir(parents=True)
    (store / "models" / "digits" / "labels.json").write_text('{"stable": 1}')
    gateway = GatewayProcess.start(
        serving=f"unix:{socket}", store=f"file://{store}", TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}"
    )
    try:
        wait_until(gateway.is_ready, "gateway and engine are ready", START_S_MAX)
        yield Line(gateway, f"127.0.0.1:{port}")
    finally:
        gateway.stop()
        engine.terminate()
        engine.wait(WAIT_S)


def test_predictions_are_the_models_own(line: Line) -> None:
    answer = line.gateway.predict({"instances": [[1, 2, 3], [4, 5, 6.5]]})

    assert answer.body == b'{"predictions":[[2.0,4.0,6.0],[8.0,10.0,13.0]]}'


def test_a_row_that_the_model_itself_refuses_fails_alone(line: Line) -> None:
    bodies = [{"instances": [[float(n), 0.0, 0.0]]} for n in range(40)]
    bodies[11] = {"instances": [[-1.0, 0.0, 0.0]]}

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(line.gateway.predict, bodies))

    assert [answer.status for answer in answers] == [400 if number == 11 else 200 for number in range(40)]
    assert answers[39].json["predictions"] == [[78.0, 0.0, 0.0]]


def test_tensorflow_servings_own_client_is_answered_unchanged(line: Line, tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "rows.npy", rows)

    run = subprocess.run(
        [sys.executable, HERE / "official_client.py", line.grpc_address, tmp_path / "rows.npy"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    told, *numbers, classified, regressed, both = run.stdout.splitlines()
    assert told == "1 30"
    assert np.loadtxt(numbers).tolist() == (rows * 2).tolist()
    assert classified == "1 [('yes', 0.25), ('no', 0.75)]"
    assert regressed == "1 2.5"
    assert both == "['classification_result']"


def test_classify_and_regress_answer_examples_in_json(line: Line) -> None:
    path, headers = "/v1/models/digits", {"Content-Type": "application/json"}
    examples = {"context": {"x": 0.5}, "examples": [{}, {"x": 0.25}]}

    classified = line.gateway.ask(
        "POST", f"{path}:classify", {"signature_name": "classify", **examples}, headers
    )
    regressed = line.gateway.ask(
        "POST", f"{path}/versions/1:regress", {"signature_name": "regress", **examples}
    )

    assert classified.body == b'{"results":[[["yes",0.5],["no",0.5]],[["yes",0.25],["no",0.75]]]}'
    assert regressed.body == b'{"results":[5.0,2.5]}'
    assert regressed.headers["x-tidemill-model-version"] == "1"


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("classify", {}, "key 'examples' is expected"),
        ("classify", {"examples": {}}, "list/array"),
        ("classify", {"examples": []}, "empty array"),
        ("classify", {"examples": [1]}, "must be JSON object"),
        ("classify", {"examples": [{"x": [1, 2.5]}]}, "Unexpected element type"),
        ("classify", {"examples": [{"x": None}]}, "unexpected JSON type"),
        ("classify", {"examples": [{"x": 2**63}]}, "Only int64"),
        ("classify", {"examples": [{"x": 1.0}]}, "method_name"),
        ("regress", {"signature_name": "classify", "examples": [{"x": 1.0}]}, "method_name"),
        ("regress", {"signature_name": "nope", "examples": [{"x": 1.0}]}, '"nope" not found'),
        ("regress", {"signature_name": "regress", "examples": [{"y": 1.0}]}, "x"),
    ],
)
def test_wrong_examples_are_refused_with_the_reason(
    line: Line, method: str, body: dict[str, object], said: str
) -> None:
    answer = line.gateway.ask("POST", f"/v1/models/digits:{method}", body)

    assert answer.status == 400
    assert said in answer.json["error"]
