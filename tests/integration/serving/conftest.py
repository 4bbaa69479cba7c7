"""Real models, a real engine and a real agent, each in a process of its own."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from tidemill_contracts.layout import manifest_name, version_prefix
from tidemill_contracts.manifest import Manifest, StoredFile, change_labels, dump_document
from tidemill_contracts.objects import ObjectStore
from tidemill_serving.model_server import GrpcModelServer

START_S_MAX = 180.0
TEST_S_MAX = 400
"""Processes that load TensorFlow start slowly where much else runs; a limit is for what hangs."""
BINARIES = Path(sys.executable).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TEST_S_MAX))


def wait_until(is_true: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until it is true; fail after `seconds`."""
    end_s = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., None]:
    return wait_until


@dataclass
class Process:
    """A started command with its log."""

    command: list[str]
    log: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self) -> Process:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command, stdout=log, stderr=log, env={**os.environ, **self.environ}
            )
        return self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send the signal, wait for the end, return the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.popen.wait(90)

    @property
    def text(self) -> str:
        return self.log.read_text()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str]], Process]]:
    """Starts commands of the virtual environment; kills them at the end."""
    started: list[Process] = []

    def start(command: str, environ: dict[str, str]) -> Process:
        started.append(Process([str(BINARIES / command)], tmp_path / f"{command}.log", environ).start())
        return started[-1]

    yield start
    for process in started:
        process.kill()


class Engine:
    """tidemill-model-server on a Unix socket."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.target = f"unix:{folder}/engine.sock"
        self._flags = ["--port=0", f"--grpc_socket_path={folder}/engine.sock", *flags]
        self._folder = folder
        self.start()

    def start(self) -> None:
        command = [str(BINARIES / "tidemill-model-server"), *self._flags]
        self.process = Process(command, self._folder / "engine.log").start()
        self.channel = grpc.insecure_channel(self.target)
        try:
            grpc.channel_ready_future(self.channel).result(START_S_MAX)
        except grpc.FutureTimeoutError:
            pytest.fail(f"the engine did not start:\n{self.process.text}")
        self.server = GrpcModelServer(self.target)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.channel.close()
        self.server.close()
        return self.process.kill(number)


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Starts engines with further flags; stops them at the end."""
    engines: list[Engine] = []

    def start(*flags: str) -> Engine:
        folder = tmp_path / f"engine-{len(engines)}"
        folder.mkdir()
        engines.append(Engine(folder, *flags))
        return engines[-1]

    yield start
    for engine in engines:
        engine.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def scaler(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], dict[str, bytes]]:
    """Files of a TensorFlow 2 model that multiplies ``x`` by a factor into ``y``; made once per factor."""
    import tensorflow as tf

    made: dict[float, dict[str, bytes]] = {}

    class Scaler(tf.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = tf.Variable(factor)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def scale(self, x: Any) -> dict[str, Any]:
            return {"y": self.factor * x}

    def make(factor: float) -> dict[str, bytes]:
        if factor not in made:
            folder = tmp_path_factory.mktemp("scaler")
            module = Scaler(factor)
            tf.saved_model.save(module, str(folder), signatures={"serving_default": module.scale})
            made[factor] = {
                str(path.relative_to(folder)): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        return made[factor]

    return make


@pytest.fixture(scope="session")
def slow_to_load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], dict[str, bytes]]:
    """Files of a model like `scaler(7.0)` whose initialiser computes for so many seconds."""
    import tensorflow as tf

    v1 = tf.compat.v1

    def make(seconds: float) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("slow") / "1"
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None], name="x")
            factor = v1.get_variable("factor", initializer=7.0)
            y = factor * x
            start_s = tf.timestamp()
            with tf.control_dependencies([start_s]):
                last = tf.while_loop(
                    lambda matrix: tf.timestamp() < start_s + seconds,
                    lambda matrix: tf.linalg.l2_normalize(matrix @ matrix),
                    [tf.eye(128)],
                    parallel_iterations=1,
                )
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(folder))
            signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": signature}, main_op=tf.group(last)
            )
            builder.save()
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    return make


@pytest.fixture
def publish() -> Callable[..., Manifest]:
    """Lays a version in a store as the trainer does: files, manifest, label."""

    def publish_version(
        store: ObjectStore, model: str, version: int, files: dict[str, bytes], *, damage: str = ""
    ) -> Manifest:
        manifest = Manifest(
            model=model,
            version=version,
            created_at=datetime.now(UTC),
            round_id=f"round-{version}",
            files=tuple(
                StoredFile(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
                for path, data in files.items()
            ),
        )
        for path, data in files.items():
            flipped = bytes([data[0] ^ 1]) + data[1:] if path == damage else data
            store.put(version_prefix(model, version) + path, flipped)
        store.put(manifest_name(model, version), dump_document(manifest))
        change_labels(store, model, lambda labels: labels.model_copy(update={"candidate": version}))
        return manifest

    return publish_version


def write_version(base_path: Path, version: int, files: dict[str, bytes]) -> None:
    """Lay a model's files in a version folder, visible in one step."""
    staged = base_path / f"staged-{version}"
    for path, data in files.items():
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).write_bytes(data)
    staged.rename(base_path / str(version))


@pytest.fixture(name="write_version")
def _write_version() -> Callable[..., None]:
    return write_version
