"""Our stubs are the official ones on the wire. The official ones bring TensorFlow, so this runs apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "compare_wire.py"


def test_every_field_is_numbered_typed_and_spelled_as_in_the_official_messages() -> None:
    run = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, timeout=110, check=False)

    assert run.returncode == 0, run.stderr[-3000:]
    assert "compared 55 messages" in run.stdout
