"""The agent as a process: killed at any moment, on a disk that is full, with a store that is slow."""

from __future__ import annotations

import errno
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import ModelRefused, ModelServing
from tidemill_contracts.golden import PATH, Golden, GoldenInput, GoldenOutput
from tidemill_contracts.manifest import dump_document, read_labels
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.model_spec import ModelSpec
from tidemill_serving import app
from tidemill_serving.configuration import Configuration
from tidemill_serving.fetching import fetch
from tidemill_serving.ports import Ports
from tidemill_serving.version_folder import VersionFolder

MODEL = "scaler"
SPEC = """
name: scaler
kind: text_classifier
dataset: d
labels: ["a", "b"]
"""
SEED = 7


@pytest.fixture
def engine(start_engine):
    return start_engine("--max_num_load_retries=0")


@pytest.fixture
def start_agent(engine, tmp_path, redis_url, free_port, start_process) -> Callable[[], Any]:
    """Starts the real command on a file store, a real Redis and the real engine."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "scaler.yaml").write_text(SPEC)
    environ = {
        "TIDEMILL_BUS": redis_url,
        "TIDEMILL_STORE": f"file://{tmp_path}/store",
        "TIDEMILL_MODELS": str(models),
        "TIDEMILL_SERVING": engine.target,
        "TIDEMILL_SERVING_FOLDER": str(tmp_path / "serving"),
        "TIDEMILL_SERVING_POLL_S": "0.1",
        "TIDEMILL_SERVING_HEALTH": f"127.0.0.1:{free_port}",
    }
    return lambda: start_process("tidemill-serving-agent", environ)


@pytest.fixture
def run_agent(engine, tmp_path) -> Iterator[Callable[..., MemoryBus]]:
    """Runs the agent's loops in this process on a given store."""
    stop = Stop()
    running: list[tuple[threading.Thread, dict[str, Any]]] = []

    def run(store: FileStore, *models: str) -> MemoryBus:
        bus = MemoryBus()
        folder = VersionFolder(tmp_path / "serving")
        ports = Ports(store, bus, engine.server, Configuration(engine.server), folder)
        specs = {
            name: ModelSpec(name=name, kind="text_classifier", dataset="d", labels=("a", "b"))
            for name in models
        }
        loops = app.make_loops(ports, specs, poll_s=0.1, load_s_max=60)
        thread = threading.Thread(target=app.run, args=(ports, loops, stop))
        thread.start()
        running.append((thread, loops))
        return bus

    yield run
    stop.set()
    for thread, loops in running:
        for loop in loops.values():
            loop.wake()
        thread.join(40)


def test_an_agent_killed_at_any_moment_brings_every_version_through(
    engine, start_agent, publish, scaler, tmp_path, wait_until
):
    """Fetching, loading and switching take about half a second together: the kills fall into all of them."""
    chance = random.Random(SEED)
    store = FileStore(tmp_path / "store")
    for version in range(1, 5):
        publish(store, MODEL, version, scaler(float(version)))
        for _ in range(3):
            agent = start_agent()
            threading.Event().wait(chance.uniform(0.3, 1.5))
            agent.kill(signal.SIGKILL)

        agent = start_agent()
        wait_until(lambda version=version: engine.server.labelled(MODEL, "stable") == version, 120)
        agent.kill(signal.SIGKILL)

    assert read_labels(store, MODEL)[0].stable == 4
    assert read_labels(store, MODEL)[0].previous == 3


def test_sigterm_ends_the_agent_cleanly(start_agent, publish, scaler, tmp_path, engine, wait_until):
    store = FileStore(tmp_path / "store")
    publish(store, MODEL, 1, scaler(1.0))
    agent = start_agent()
    wait_until(lambda: engine.server.labelled(MODEL, "stable") == 1, 120)

    assert agent.kill(signal.SIGTERM) == 0


def test_every_stable_version_is_announced_though_the_agent_is_killed(
    start_agent, publish, scaler, tmp_path, wait_until, redis_url
):
    store = FileStore(tmp_path / "store")
    publish(store, MODEL, 1, scaler(1.0))
    bus = RedisBus.from_url(redis_url)
    listener = bus.subscribe("serving", "test")
    chance = random.Random(SEED)
    for _ in range(4):
        agent = start_agent()
        threading.Event().wait(chance.uniform(0.4, 1.2))
        agent.kill(signal.SIGKILL)

    start_agent()

    assert [from_message(d.message, ModelServing).version for d in listener.pull(1, 30.0)] == [1]
    bus.close()


def test_a_slow_store_of_one_model_holds_up_no_other(
    run_agent, publish, scaler, tmp_path, engine, wait_until, monkeypatch
):
    slow = FileStore(tmp_path / "store")
    publish(slow, "slow", 1, scaler(1.0))
    publish(slow, "quick", 1, scaler(2.0))
    reading = threading.Event()
    release = threading.Event()
    get = slow.get

    def hold(name: str) -> bytes:
        if name.startswith("models/slow/1/variables"):
            reading.set()
            assert release.wait(30)
        return get(name)

    monkeypatch.setattr(slow, "get", hold)
    run_agent(slow, "slow", "quick")
    assert reading.wait(30)

    wait_until(lambda: engine.server.labelled("quick", "stable") == 1)
    assert engine.server.labelled("slow", "stable") is None
    release.set()
    wait_until(lambda: engine.server.labelled("slow", "stable") == 1)


def test_a_disk_that_is_full_leaves_nothing_half_done(publish, scaler, tmp_path, monkeypatch):
    store = FileStore(tmp_path / "store")
    publish(store, MODEL, 1, scaler(1.0))
    folder = VersionFolder(tmp_path / "serving")
    written = []

    def full_after_two(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        with path.open("wb") as file:
            return file.write(data)

    monkeypatch.setattr(Path, "write_bytes", full_after_two)
    with pytest.raises(Unavailable, match="No space left on device"):
        fetch(store, folder, MODEL, 1)
    monkeypatch.undo()

    assert folder.versions(MODEL) == set()
    assert list((tmp_path / "serving" / ".staging").iterdir()) == []
    fetch(store, folder, MODEL, 1)
    assert folder.versions(MODEL) == {1}


def test_a_model_that_answers_nan_is_refused(run_agent, publish, scaler, tmp_path, engine, wait_until):
    store = FileStore(tmp_path / "store")
    golden = Golden(
        inputs={"x": GoldenInput(dtype="float32", shape=(1,), values=(1.0,))},
        outputs={"y": GoldenOutput(shape=(1,), values=(1.0,))},
    )
    publish(store, MODEL, 1, {**scaler(float("nan")), PATH: dump_document(golden)})

    bus = run_agent(store, MODEL)

    wait_until(lambda: bus.published("serving"))
    (message,) = bus.published("serving")
    assert "output y[0] is nan instead of 1" in from_message(message, ModelRefused).reason
