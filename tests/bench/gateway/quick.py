"""Our own figures alone, in half a minute: ``python -m tests.bench.gateway.quick [seconds]``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import httpx
import numpy as np

from tests.bench.gateway.load import Load, measure
from tests.bench.gateway.ours import export_digits, run_ours

LOADS = (Load(1, 1), Load(16, 1), Load(64, 1), Load(8, 32))
TOLERANCE = 1e-5


def main(seconds: float) -> None:
    """Print a table of our own figures."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        export_digits(models)
        with run_ours(models) as ours:
            for rows in (1, 32):
                check(ours.url, models, rows)
            measure(ours.url, LOADS[2], models=models, pids=ours.pids, seconds=2)
            sys.stdout.write("connections rows  requests/s   p50 ms   p99 ms  CPU ms  errors  MB\n")
            for load in LOADS:
                m = measure(ours.url, load, models=models, pids=ours.pids, seconds=seconds)
                sys.stdout.write(
                    f"{load.connections:11} {load.rows:4}  {m.requests_per_s:10.0f} {m.p50_ms:8.2f} "
                    f"{m.p99_ms:8.2f} {m.cpu_ms:7.3f} {m.errors:7} {m.memory_mb:4.0f}\n"
                )


def check(url: str, models: Path, rows: int) -> None:
    """Raise if the answer is not the model's own."""
    body = (models / f"body-{rows}.json").read_bytes()
    found = np.array(httpx.post(url, content=body, timeout=30).json()["predictions"])
    right = np.array(json.loads((models / f"right-{rows}.json").read_text()))
    if np.abs(found - right).max() > TOLERANCE:
        raise AssertionError(f"the answer for {rows} rows is off by {np.abs(found - right).max()}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
