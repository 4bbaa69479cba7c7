"""The trainer as a process: ready late, killed at any time, stopped in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.adapters import open_bus, open_store
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.manifest import Labels, read_labels
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample
from tidemill_registry import Registry
from tidemill_registry.records import PoolCounts, RoundRecord

WAIT_S = 90.0
STOP_S_MAX = 10.0


class TrainerProcess:
    """The command `tidemill-trainer` on a folder; start it as often as you like."""

    def __init__(self, folder: Path, bus: str, port: int, spec: ModelSpec) -> None:
        models = folder / "models"
        models.mkdir()
        (models / "digits.yaml").write_text(spec.model_dump_json())
        self.store_url = f"file://{folder}/store"
        self.database = f"sqlite:///{folder}/registry.db"
        self.port = port
        self._log = folder / "trainer.log"
        self._environ = {
            **os.environ,
            "TIDEMILL_BUS": bus,
            "TIDEMILL_STORE": self.store_url,
            "TIDEMILL_DATABASE": self.database,
            "TIDEMILL_MODELS": str(models),
            "TIDEMILL_TRAINER_HEALTH": f"127.0.0.1:{port}",
            "TIDEMILL_TRAINER_RECONCILE_S": "1",
            "TIDEMILL_TRAINER_LEASE_S": "1",
            "TIDEMILL_TRAINER_WORK": str(folder / "work"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tidemill_trainer.main"]
            self.process = subprocess.Popen(command, env=self._environ, stderr=log)

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self) -> tuple[int, float]:
        """SIGTERM; exit code and the seconds it took."""
        assert self.process is not None
        began_s = time.monotonic()
        self.process.terminate()
        code = self.process.wait(WAIT_S)
        return code, time.monotonic() - began_s

    def wait_for(self, condition: Callable[[RoundRecord], bool]) -> RoundRecord:
        """The first round, once the condition holds for it."""
        registry = Registry.open(self.database)
        end_s = time.monotonic() + WAIT_S
        try:
            while time.monotonic() < end_s:
                try:
                    found = [each for each in registry.rounds("digits")[:1] if condition(each)]
                except Unavailable:  # not migrated yet
                    found = []
                if found:
                    return found[0]
                time.sleep(0.02)
        finally:
            registry.close()
        pytest.fail(f"not in {WAIT_S:g} s; the trainer said:\n{self._log.read_text()[-3000:]}")

    def readiness(self) -> tuple[int, dict[str, Any]] | None:
        """Status and body of /readyz; None while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return None


@pytest.fixture
def trainer(tmp_path: Path, redis_url: str, free_port: int, spec: ModelSpec) -> Iterator[TrainerProcess]:
    process = TrainerProcess(tmp_path, redis_url, free_port, spec)
    yield process
    process.kill()


def test_it_is_not_ready_before_tensorflow_has_loaded(trainer: TrainerProcess) -> None:
    trainer.start()

    answers: list[tuple[int, dict[str, Any]]] = []
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s and (not answers or answers[-1][0] != 200):
        answer = trainer.readiness()
        if answer is not None:
            answers.append(answer)
        time.sleep(0.05)

    assert answers[0] == (
        503,
        {"status": "not ready", "reason": "the trainer is starting: TensorFlow is being loaded"},
    )
    assert answers[-1] == (200, {"status": "ready"})


@pytest.mark.parametrize("phase", ["reading", "training", "evaluating", "publishing"])
def test_a_trainer_that_is_killed_finishes_its_round_after_a_restart(
    trainer: TrainerProcess,
    redis_url: str,
    digit_samples: list[Sample],
    put: Callable[..., str],
    phase: str,
) -> None:
    store, bus = open_store(trainer.store_url), open_bus(redis_url)
    put(store, digit_samples[:600], bus=bus)
    put(store, digit_samples[600:650], "test")

    trainer.start()
    trainer.wait_for(lambda round_: round_.phase in (phase, "publishing", "closed"))
    trainer.kill()
    trainer.start()
    trainer.wait_for(lambda round_: round_.status == "promoted")

    registry = Registry.open(trainer.database)
    assert len(registry.rounds("digits")) == 1
    assert [each.version for each in registry.versions("digits")] == [1]
    assert read_labels(store, "digits")[0] == Labels(candidate=1)
    assert registry.pool_counts("digits", "digits") == PoolCounts(used=600)
    counts = registry.sample_counts("digits")
    assert counts.train + counts.validation == 600
    registry.close()
    bus.close()


def test_a_stop_during_training_takes_less_than_its_limit_and_leaves_the_round_open(
    trainer: TrainerProcess, digit_samples: list[Sample], put: Callable[..., str]
) -> None:
    put(open_store(trainer.store_url), digit_samples[:3000])
    trainer.start()
    trainer.wait_for(lambda round_: round_.epoch >= 1)

    code, seconds = trainer.terminate()

    assert (code, seconds < STOP_S_MAX) == (0, True)
    registry = Registry.open(trainer.database)
    assert [each.status for each in registry.rounds("digits")] == ["open"]
    registry.close()


def test_a_setting_that_is_missing_is_named_in_one_line() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}

    done = subprocess.run(
        [sys.executable, "-m", "tidemill_trainer.main"], env=environ, capture_output=True, timeout=60
    )

    assert done.returncode == 2
    assert done.stderr.decode().startswith("tidemill-trainer: TIDEMILL_BUS is not set; set it, for example")
