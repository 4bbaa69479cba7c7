"""The persistor starts quickly and stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMPORT_S_MAX = 1.5
MEMORY_MB_MAX = 150
MEASURE = """
import json, sys, time
import tidemill_persistor.main
heavy = [name for name in sys.modules if name in {"tensorflow", "numpy"}]
print(json.dumps({"cpu_s": time.process_time(), "heavy": heavy}))
"""


def test_import_is_quick_and_light() -> None:
    measured = json.loads(
        subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, check=True).stdout
    )

    assert measured["cpu_s"] < IMPORT_S_MAX
    assert measured["heavy"] == []


def test_a_running_persistor_is_ready_and_small(
    redis_url: str, tmp_path: Path, make_process: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    process = make_process(redis_url, tmp_path / "store")

    process.start()
    eventually(process.is_ready)

    assert memory_mb(process.pid) < MEMORY_MB_MAX


def memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
