"""Gateway and engine with the digits network, once for all measurements of the promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.gateway.load import Load, keep_to_two_cores, measure, need_wrk
from tests.bench.gateway.ours import Running, export_digits, run_ours
from tests.bench.gateway.quick import check
from tests.emulators.machine import free_port

WARM_S = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network that fails by itself on pixels above 1."""
    folder = tmp_path_factory.mktemp("models")
    export_digits(folder, guarded=True)
    return folder


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def ours(models: Path, grpc_port: int) -> Iterator[Running]:
    """Warm, and its answers found right."""
    need_wrk()
    keep_to_two_cores()
    with run_ours(models, TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{grpc_port}") as running:
        for rows in (1, 32):
            check(running.url, models, rows)
        measure(running.url, Load(64, 1), models=models, pids=running.pids, seconds=WARM_S)
        yield running
