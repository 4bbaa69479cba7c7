"""A model that takes long to load: others are served meanwhile, and nobody dies of a kill in the middle.

TIDEMILL_TEST_LOAD_S is how long it takes: 4 s by default, 30 for the long form.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_contracts.manifest import read_labels
from tidemill_serving.engine.states import State

LOAD_S = float(os.environ.get("TIDEMILL_TEST_LOAD_S", "4"))
LIMIT_S = 120 + 4 * LOAD_S
SPEC = "name: {}\nkind: text_classifier\ndataset: d\nlabels: [a, b]\n"
Agent = Callable[[], Any]


@pytest.fixture
def engine(start_engine: Callable[..., Any]) -> Any:
    return start_engine("--max_num_load_retries=0")


@pytest.fixture
def store(tmp_path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def start_agent(engine, tmp_path, redis_url, free_port, start_process) -> Agent:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("slow", "quick"):
        (models / f"{name}.yaml").write_text(SPEC.format(name))
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


def state(engine, version: int) -> State | None:
    known = engine.server.states("slow").get(version)
    return known.state if known is not None else None


def test_others_are_served_and_switched_while_one_takes_long(
    engine, start_agent, store, publish, scaler, slow_to_load, wait_until
):
    publish(store, "quick", 1, scaler(1.0))
    start_agent()
    wait_until(lambda: engine.server.labelled("quick", "stable") == 1, 120)
    publish(store, "slow", 1, slow_to_load(LOAD_S))
    wait_until(lambda: state(engine, 1) is State.LOADING, 120)
    loading_s = time.monotonic()

    publish(store, "quick", 2, scaler(2.0))
    wait_until(lambda: engine.server.labelled("quick", "stable") == 2, LIMIT_S)
    while_loading = state(engine, 1)
    wait_until(lambda: engine.server.labelled("slow", "stable") == 1, LIMIT_S)

    assert time.monotonic() - loading_s > LOAD_S / 2, "the model loaded too quickly to show anything"
    assert while_loading is State.LOADING, "the quick one's switch waited for the slow one"


def test_a_kill_of_the_agent_in_each_stage_is_made_good_by_its_next_start(
    engine, start_agent, store, publish, scaler, slow_to_load, tmp_path, wait_until
):
    """Fetching, loading, switching: each kill falls where the files or the server say that it does."""
    big = {**slow_to_load(LOAD_S / 2), "assets.extra/weight": os.urandom(64 * 2**20)}
    publish(store, "slow", 1, big)
    agent = start_agent()
    wait_until(lambda: any((tmp_path / "serving" / ".staging").glob("slow-1-*")), 120)
    agent.kill(signal.SIGKILL)
    assert not (tmp_path / "serving" / "slow" / "1").exists(), "it was fetched before the kill"

    agent = start_agent()
    wait_until(lambda: state(engine, 1) is State.LOADING, 120)
    agent.kill(signal.SIGKILL)
    assert read_labels(store, "slow")[0].stable is None

    agent = start_agent()
    wait_until(lambda: engine.server.labelled("slow", "stable") == 1, LIMIT_S)
    publish(store, "slow", 2, scaler(2.0))
    wait_until(lambda: read_labels(store, "slow")[0].stable == 2, 120)
    agent.kill(signal.SIGKILL)

    start_agent()
    wait_until(lambda: engine.server.labelled("slow", "stable") == 2, 120)
    assert engine.server.labelled("slow", "previous") == 1


def test_a_server_killed_while_loading_loads_again(
    engine, start_agent, store, publish, slow_to_load, wait_until
):
    publish(store, "slow", 1, slow_to_load(LOAD_S / 2))
    start_agent()
    wait_until(lambda: state(engine, 1) is State.LOADING, 120)

    engine.process.kill(signal.SIGKILL)
    engine.process.start()

    def serves() -> bool:
        try:
            return bool(engine.server.labelled("slow", "stable") == 1)
        except Exception:  # noqa: BLE001  (it is down for a while)
            return False

    wait_until(serves, LIMIT_S)
