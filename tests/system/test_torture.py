"""`tidemill torture`, as a person types it: nothing is lost, and a persistor that loses is caught."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

SEED = 5
RATE = 300
IN_TWO_ROUNDS = "kill-persistor,kill-in-round,store-errors,store-lies,poison"


@pytest.mark.timeout(300)
def test_nothing_is_lost_whatever_happens(tool: str) -> None:
    done = subprocess.run(
        [tool, "torture", "--short", "--seed", str(SEED), "--rate", str(RATE)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "LOST" in done.stdout
    assert "confirmed and not in the training view" in done.stdout


@pytest.mark.timeout(300)
def test_nothing_is_lost_on_pubsub_and_cloud_storage_either(
    tool: str, pubsub_emulator: Any, storage_server: Any, pubsub_url: str, bucket_url: str
) -> None:
    addresses = ["--bus", pubsub_url, "--store", bucket_url]
    faults = ["--short", "--faults", IN_TWO_ROUNDS, "--rate", str(RATE)]

    done = subprocess.run(
        [tool, "torture", "--seed", str(SEED), *addresses, *faults],
        env={**os.environ, **pubsub_emulator.environ, **storage_server.environ},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "LOST" in done.stdout


HASTY = """
import time

from tidemill_persistor.worker import Worker

keep = Worker._keep


def acknowledge_first(self, batch):
    self._subscription.acknowledge(batch.ack_ids())
    time.sleep(0.5)  # what a slow store takes: in this time it is killed
    return keep(self, batch)


Worker._keep = acknowledge_first
"""


@pytest.mark.timeout(300)
def test_a_persistor_that_acknowledges_too_early_is_caught(tool: str, tmp_path: Path) -> None:
    """It is killed while it writes: what it has acknowledged by then is nowhere."""
    (tmp_path / "sitecustomize.py").write_text(HASTY)
    faults = ["--faults", "kill-after-write", "--rounds", "3", "--rate", str(RATE)]

    done = subprocess.run(
        [tool, "torture", "--seed", str(SEED), *faults],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    lost = next(line for line in done.stdout.splitlines() if "LOST" in line)
    assert done.returncode == 1
    assert not re.search(r"│\s+0 │", lost)
