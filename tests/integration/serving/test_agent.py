"""A real engine and a real agent: versions roll out under load, and bad ones do not get through."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.golden import PATH, Golden, GoldenInput, GoldenOutput
from tidemill_contracts.manifest import change_labels, dump_document, read_labels
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.model_spec import ModelSpec
from tidemill_serving import app, wire
from tidemill_serving.configuration import Configuration
from tidemill_serving.ports import Ports
from tidemill_serving.version_folder import VersionFolder

MODEL = "scaler"


class Agent:
    """The agent's own loops in this process, on a real store and a real engine."""

    def __init__(self, engine, store, folder: Path, bus: MemoryBus) -> None:
        self.engine, self.store, self.bus = engine, store, bus
        ports = Ports(store, bus, engine.server, Configuration(engine.server), VersionFolder(folder))
        spec = ModelSpec(name=MODEL, kind="text_classifier", dataset="d", labels=("a", "b"))
        self._stop = Stop()
        self.loops = app.make_loops(ports, {MODEL: spec}, poll_s=0.1, load_s_max=60)
        self._thread = threading.Thread(target=app.run, args=(ports, self.loops, self._stop))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        for loop in self.loops.values():
            loop.wake()
        self._thread.join(40)

    def stable(self) -> int | None:
        return self.engine.server.labelled(MODEL, "stable")

    def events(self) -> list[tuple[str, dict]]:
        messages = self.bus.published("serving")
        return [(m.attributes["ce-type"].split(".")[2], json.loads(m.data)) for m in messages]


@pytest.fixture
def house(start_engine, tmp_path) -> Iterator[Callable[[], Agent]]:
    engine = start_engine("--max_num_load_retries=1", "--load_retry_interval_micros=50000")
    store, bus = FileStore(tmp_path / "store"), MemoryBus()
    agents: list[Agent] = []

    def start() -> Agent:
        agents.append(Agent(engine, store, tmp_path / "serving", bus))
        return agents[-1]

    yield start
    for agent in agents:
        agent.stop()


def ask(server, value: float) -> tuple[int, float]:
    """Version and answer of the stable version."""
    request = wire.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.version_label = "stable"
    tensor = request.inputs.add(key="x").value
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=1)
    tensor.float_val.append(value)
    response = server.predict(request)
    return response.model_spec.version.value, response.outputs[0].value.float_val[0]


def golden(factor: float) -> bytes:
    return dump_document(
        Golden(
            inputs={"x": GoldenInput(dtype="float32", shape=(2,), values=(1.0, 2.0))},
            outputs={"y": GoldenOutput(shape=(2,), values=(factor, 2 * factor))},
        )
    )


class Callers:
    """Threads that predict without pause and keep what was wrong."""

    def __init__(self, agent: Agent, factors: dict[int, float], count: int = 4) -> None:
        self._stop = threading.Event()
        self.wrong: list[str] = []
        self.versions: set[int] = set()
        self.calls = 0
        self._threads = [threading.Thread(target=self._call, args=(agent, factors)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _call(self, agent: Agent, factors: dict[int, float]) -> None:
        while not self._stop.is_set():
            try:
                version, answer = ask(agent.engine.server, 3.0)
            except Exception as error:  # noqa: BLE001  (whatever fails is what the test is about)
                self.wrong.append(repr(error))
                continue
            self.calls += 1
            self.versions.add(version)
            if answer != 3.0 * factors[version]:
                self.wrong.append(f"version {version} answered {answer}")

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_versions_roll_out_under_load_and_bad_ones_are_refused(house, publish, scaler, wait_until):
    agent = house()
    publish(agent.store, MODEL, 1, {**scaler(1.0), PATH: golden(1.0)})
    wait_until(lambda: agent.stable() == 1)
    callers = Callers(agent, {1: 1.0, 2: 2.0})

    publish(agent.store, MODEL, 2, {**scaler(2.0), PATH: golden(2.0)})
    wait_until(lambda: agent.stable() == 2 and 2 in callers.versions)
    publish(agent.store, MODEL, 3, scaler(3.0), damage="variables/variables.data-00000-of-00001")
    wait_until(lambda: len(agent.events()) == 3)
    publish(agent.store, MODEL, 4, {"saved_model.pb": b"no graph at all"})
    wait_until(lambda: len(agent.events()) == 4)
    publish(agent.store, MODEL, 5, {**scaler(5.0), PATH: golden(4.0)})
    wait_until(lambda: len(agent.events()) == 5)
    wait_until(lambda: read_labels(agent.store, MODEL)[0].candidate is None)
    callers.end()

    assert callers.wrong == []
    assert callers.versions == {1, 2}
    assert [(kind, body["version"]) for kind, body in agent.events()] == [
        ("serving", 1),
        ("serving", 2),
        ("refused", 3),
        ("refused", 4),
        ("refused", 5),
    ]
    assert "SHA-256 differs" in agent.events()[2][1]["reason"]
    assert "could not be loaded" in agent.events()[3][1]["reason"]
    assert "output y[0] is 5 instead of 4" in agent.events()[4][1]["reason"]
    labels, _ = read_labels(agent.store, MODEL)
    assert (labels.stable, labels.previous, labels.candidate) == (2, 1, None)


def test_a_killed_server_gets_its_models_back(house, publish, scaler, wait_until):
    agent = house()
    publish(agent.store, MODEL, 1, scaler(1.0))
    publish(agent.store, MODEL, 2, scaler(2.0))
    wait_until(lambda: agent.stable() == 2)

    agent.engine.process.kill(signal.SIGKILL)
    agent.engine.process.start()

    def answers():
        try:
            return ask(agent.engine.server, 3.0) == (2, 6.0)
        except Exception:  # noqa: BLE001  (it is down for a while)
            return False

    wait_until(answers, 120)


def test_a_restarted_agent_goes_on_where_it_was(house, publish, scaler, wait_until):
    first = house()
    publish(first.store, MODEL, 1, scaler(1.0))
    wait_until(lambda: first.stable() == 1)
    first.stop()
    publish(first.store, MODEL, 2, scaler(2.0))

    second = house()

    wait_until(lambda: second.stable() == 2)
    wait_until(lambda: len(second.events()) == 2)
    assert [body["version"] for _, body in second.events()] == [1, 2]


def test_a_rollback_by_label_is_in_force_within_five_seconds(house, publish, scaler, wait_until):
    agent = house()
    for version in (1, 2):
        publish(agent.store, MODEL, version, scaler(float(version)))
        wait_until(lambda version=version: agent.stable() == version)

    change_labels(agent.store, MODEL, lambda labels: labels.model_copy(update={"stable": 1, "previous": 2}))

    wait_until(lambda: ask(agent.engine.server, 3.0) == (1, 3.0), seconds=5)
