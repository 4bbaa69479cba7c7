"""A CNN of the size of the digits model, the engine that serves it, and meters."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf

from tests.emulators.machine import free_port

BINARY = Path(sys.executable).parent / "tidemill-model-server"


class Network(tf.Module):
    """Two convolutions and two dense layers: 32, 64, 128 and 10 wide."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [[3, 3, 1, 32], [3, 3, 32, 64], [1600, 128], [128, 10]]
        self.weights = [
            tf.Variable(tf.random.stateless_normal(shape, [7, seed]) * 0.05)
            for seed, shape in enumerate(shapes)
        ]

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32, name="x")])
    def classify(self, x: Any) -> dict[str, Any]:
        for kernel in self.weights[:2]:
            x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID")), 2, 2, "VALID")
        x = tf.nn.relu(tf.reshape(x, [-1, 1600]) @ self.weights[2])
        return {"probabilities": tf.nn.softmax(x @ self.weights[3])}


@pytest.fixture(scope="session")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cnn")
    network = Network()
    tf.saved_model.save(network, str(path / "1"), signatures={"serving_default": network.classify})
    return path


@dataclass
class Running:
    """A served engine: addresses, process, when it was started, and how long until it listened."""

    process: psutil.Process
    socket_path: str
    port: int
    rest_port: int
    start_s: float = 0.0
    started_s: float = 0.0

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@pytest.fixture
def start_engine(base_path: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts engines with further flags; stops them at the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*flags: str) -> Running:
        port, rest_port = free_port(), free_port()
        command = [
            str(BINARY),
            f"--port={port}",
            f"--rest_api_port={rest_port}",
            f"--grpc_socket_path={tmp_path}/engine.sock",
            "--model_name=cnn",
            f"--model_base_path={base_path}",
            *flags,
        ]
        started_s = time.perf_counter()
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        process = psutil.Process(processes[-1].pid)
        found = Running(process, f"unix:{tmp_path}/engine.sock", port, rest_port, started_s=started_s)
        with grpc.insecure_channel(found.socket_path) as channel:
            grpc.channel_ready_future(channel).result(60)
        found.start_s = time.perf_counter() - started_s
        return found

    yield start
    for process in processes:
        process.terminate()
        process.wait(40)


@pytest.fixture
def engine(start_engine: Callable[..., Running]) -> Running:
    """An engine with its defaults."""
    return start_engine()


@pytest.fixture
def rows() -> Callable[[int], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(7)
    return lambda count: generator.random((count, 28, 28, 1), dtype=np.float32)
