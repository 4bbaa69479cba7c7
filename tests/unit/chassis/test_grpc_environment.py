"""What gRPC is told before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tidemill_chassis.grpc_environment import EXPERIMENTS, prepare_grpc


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_EXPERIMENTS", "")
    prepare_grpc()

    assert os.environ["GRPC_EXPERIMENTS"] == ""


def test_else_grpc_is_told_before_it_is_imported() -> None:
    ask = (
        "import os, sys, tidemill_gateway as _; print('grpc' in sys.modules, os.environ['GRPC_EXPERIMENTS'])"
    )
    environ = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}

    told = subprocess.run(
        [sys.executable, "-c", ask], env=environ, capture_output=True, text=True, timeout=60, check=True
    )

    assert told.stdout.strip() == f"False {EXPERIMENTS}"
