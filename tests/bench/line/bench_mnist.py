"""The whole of MNIST through the whole platform: accuracy, time and memory.

`tidemill publish digits --idx DIR --wait` against a fresh `tidemill up`, as a person would do it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from tidemill.deployment import Deployment, Ports
from tidemill.running import running_platform
from tidemill_registry.registry import Registry

ROOT = Path(__file__).parents[3]
TEST_ACCURACY_MIN = 0.985
WAIT_S_MAX = 1800


class Memory:
    """The largest resident size of each process and its children, sampled once a second."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.largest_bytes = dict.fromkeys(pids, 0)
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            for name, pid in self._pids.items():
                try:
                    process = psutil.Process(pid)
                    family = [process, *process.children(recursive=True)]
                    size = sum(one.memory_info().rss for one in family)
                except psutil.Error:
                    continue
                self.largest_bytes[name] = max(self.largest_bytes[name], size)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.timeout(2400)
def test_the_whole_of_mnist_is_learnt(tmp_path: Path, data_folder: Path) -> None:
    base = 20_000 + os.getpid() % 20_000
    deployment = Deployment(tmp_path / "data", ROOT / "models", Ports.from_base(base))
    tool = str(Path(sys.executable).parent / "tidemill")
    with running_platform(deployment, echo=False) as supervisor:
        names = ("redis", "ingest", "persistor", "trainer", "model-server", "serving", "gateway")
        memory = Memory({name: supervisor.pid(name) or 0 for name in names})
        begun_s = time.monotonic()
        publish = [
            tool,
            "--data",
            str(deployment.folder),
            "publish",
            "digits",
            "--idx",
            str(data_folder / "mnist"),
        ]
        done = subprocess.run(
            [*publish, "--wait", "--wait-max", str(WAIT_S_MAX)], text=True, stderr=subprocess.PIPE
        )
        took_s = time.monotonic() - begun_s
        memory.stop()
        assert done.returncode == 0, done.stderr
    registry = Registry.open(deployment.database_url)
    rounds, test_runs = registry.rounds("digits"), registry.test_runs("digits")
    registry.close()
    final = test_runs[-1]
    print(done.stderr)
    print(
        json.dumps(
            {
                "test_accuracy": final.accuracy,
                "test_loss": round(final.loss, 4),
                "test_samples": final.sample_count,
                "rounds": len(rounds),
                "promoted": sum(one.status == "promoted" for one in rounds),
                "seconds": round(took_s, 1),
                "training_cpu_s": round(sum(one.cpu_seconds or 0.0 for one in rounds), 1),
                "peak_mb": {name: round(size / 1e6) for name, size in memory.largest_bytes.items()},
            },
            indent=2,
        )
    )

    assert final.sample_count == 10_000
    assert final.accuracy >= TEST_ACCURACY_MIN
