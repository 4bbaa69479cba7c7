"""The server that the rules are shown on: the embedded engine, or any other.

TIDEMILL_TEST_SERVER=HOST:GRPC_PORT:REST_PORT names another. It must see the folder of models under the same
path: TIDEMILL_TEST_SERVER_MODELS names an empty one that both can reach.
"""
# ruff: noqa: S310  (the only address opened is the server's under test)

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.emulators.machine import free_port

START_S_MAX = 180.0
TEST_S_MAX = 400
"""Processes that load TensorFlow start slowly where much else runs; a limit is for what hangs."""
CALL_S_MAX = 60.0
BINARY = Path(sys.executable).parent / "tidemill-model-server"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TEST_S_MAX))


@dataclass(frozen=True)
class Reply:
    """What came back over HTTP."""

    status: int
    body: bytes
    headers: Any


class Server:
    """A server under test, seen from outside only."""

    def __init__(self, host: str, grpc_port: int, rest_port: int, models: Path) -> None:
        self.address = f"{host}:{grpc_port}"
        self.rest = f"http://{host}:{rest_port}"
        self.rest_port = rest_port
        self.models = models
        self.process_id = 0
        self.channel = grpc.insecure_channel(self.address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def http(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """One REST request; `headers` with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.rest + path, data=body, method=verb, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=CALL_S_MAX) as reply:
                return Reply(reply.status, reply.read(), reply.headers)
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), error.headers)

    def reload(self, config: str, timeout: float = CALL_S_MAX) -> None:
        """Put a ModelServerConfig in force; ``ROOT`` stands for the folder of models."""
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(config.replace("ROOT", str(self.models)), request.config)
        self.model.HandleReloadConfigRequest(request, timeout=timeout)

    def serve(self, **policies: str) -> None:
        """Serve exactly these models, with their policies in text format."""
        entries = "".join(
            f'config {{ name: "{name}" base_path: "ROOT/{name}" model_platform: "tensorflow" {policy} }}\n'
            for name, policy in policies.items()
        )
        self.reload(f"model_config_list {{ {entries} }}")


ALL = "model_version_policy { all {} }"
LABELS = 'version_labels { key: "stable" value: 1 } version_labels { key: "candidate" value: 2 }'
USUAL = {"half_plus_two": ALL, "several": "", "with_default": "", "strings": "", "types": "", "counter": ""}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models, made once."""
    root = Path(os.environ.get("TIDEMILL_TEST_SERVER_MODELS") or tmp_path_factory.mktemp("models"))
    if any(root.iterdir()):
        pytest.fail(f"{root} is not empty: name a fresh folder in TIDEMILL_TEST_SERVER_MODELS")
    spec = importlib.util.spec_from_file_location("model_zoo", Path(__file__).parent / "model_zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.build(root)
    return root


@pytest.fixture(scope="session")
def shared_server(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    named = os.environ.get("TIDEMILL_TEST_SERVER")
    if named:
        host, grpc_named, rest_named = named.rsplit(":", 2)
        yield Server(host, int(grpc_named), int(rest_named), zoo)
        return
    folder = tmp_path_factory.mktemp("engine")
    monitoring = folder / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    grpc_port, rest_port = free_port(), free_port()
    command = [
        str(BINARY),
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--monitoring_config_file={monitoring}",
        "--max_num_load_retries=0",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Server("127.0.0.1", grpc_port, rest_port, zoo)
    server.process_id = process.pid
    try:
        grpc.channel_ready_future(server.channel).result(START_S_MAX)
        yield server
    finally:
        process.terminate()
        process.wait(90)


@pytest.fixture
def engine_rss_mb(shared_server: Server) -> Callable[[], float]:
    """Memory of the embedded engine's process."""
    return lambda: psutil.Process(shared_server.process_id).memory_info().rss / 1e6


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The server with the usual models; version 1 of half_plus_two is stable, 2 the candidate."""
    shared_server.serve(**USUAL)
    deadline_s = time.monotonic() + 120
    while True:
        try:
            shared_server.serve(**{**USUAL, "half_plus_two": f"{ALL} {LABELS}"})
            return shared_server
        except grpc.RpcError:  # the labels are taken only once both versions answer
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
