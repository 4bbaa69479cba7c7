"""Ingest starts quickly, and says what keeps it from starting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT_S_MAX = 1.5
MEASURE = """
import json, sys, time
import tidemill_ingest.main
heavy = [name for name in sys.modules if name in {"tensorflow", "numpy"}]
print(json.dumps({"cpu_s": time.process_time(), "heavy": heavy}))
"""


def test_import_is_quick_and_light() -> None:
    output = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, check=True).stdout

    measured = json.loads(output)
    assert measured["cpu_s"] < IMPORT_S_MAX
    assert measured["heavy"] == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TIDEMILL_BUS", "", "TIDEMILL_BUS is not set; set it, for example TIDEMILL_BUS=redis://"),
        ("TIDEMILL_MODELS", "/nowhere", "no model in /nowhere"),
        ("TIDEMILL_INGEST_BIND", "8080", "TIDEMILL_INGEST_BIND must be HOST:PORT"),
        ("TIDEMILL_INGEST_PIXELS_MAX", "1000000000", "between 1 and 50000000"),
        ("TIDEMILL_LOG_LEVEL", "loud", "TIDEMILL_LOG_LEVEL must be one of"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    (tmp_path / "one.yaml").write_text("{name: one, kind: text_classifier, dataset: one, labels: [a, b]}")
    environ = {
        **os.environ,
        "TIDEMILL_BUS": "memory://",
        "TIDEMILL_STORE": "memory://",
        "TIDEMILL_MODELS": str(tmp_path),
        variable: value,
    }

    ended = subprocess.run(
        [sys.executable, "-m", "tidemill_ingest.main"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
