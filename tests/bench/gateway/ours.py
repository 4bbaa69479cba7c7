"""Our gateway before our engine, started for a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidemill_chassis.adapters import open_store
from tidemill_contracts.manifest import Labels, change_labels

from tests.emulators.gateway_process import WAIT_S, GatewayProcess, wait_until

START_S_MAX = 60.0
EXPORT_S_MAX = 120.0


@dataclass(frozen=True)
class Running:
    """Where a server listens, and which processes it is."""

    url: str
    pids: list[int]


def export_digits(folder: Path, *, guarded: bool = False) -> None:
    """Write the network that is measured, with bodies and right answers, in a process of its own."""
    script = Path(__file__).with_name("digits_model.py")
    command = [sys.executable, str(script), str(folder), *(["guarded"] if guarded else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=EXPORT_S_MAX, check=False)
    if done.returncode:
        raise RuntimeError(f"the network could not be exported: {done.stderr}")


@contextmanager
def run_ours(
    models: Path,
    *,
    root: Path | None = None,
    engine_flags: Sequence[str] = (),
    name: str = "serving",
    **settings: str,
) -> Iterator[Running]:
    """Gateway and engine over a unix socket, as `tidemill up` runs them.

    root: of another checkout whose code is to run; None for this one. name: of the socket.
    """
    socket = models / f"{name}.sock"
    socket.unlink(missing_ok=True)
    code = {} if root is None else {"PYTHONPATH": os.pathsep.join(_packages(root))}
    engine = subprocess.Popen(
        [
            *(sys.executable, "-m", "tidemill_serving.engine.main"),
            "--port=0",
            f"--grpc_socket_path={socket}",
            "--model_name=digits",
            f"--model_base_path={models}",
            "--tensorflow_intra_op_parallelism=1",
            *engine_flags,
        ],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "TIDEMILL_LOG_LEVEL": "warning", **code, **settings},
    )
    store = models / "store"
    store.mkdir(exist_ok=True)
    change_labels(open_store(f"file://{store}"), "digits", lambda _: Labels(stable=1))
    gateway = GatewayProcess.start(
        serving=f"unix:{socket}",
        store=f"file://{store}",
        TIDEMILL_LOG_LEVEL="warning",
        **code,
        **settings,
    )
    try:
        wait_until(gateway.is_ready, "gateway and engine are ready", START_S_MAX)
        url = f"http://127.0.0.1:{gateway.port}/v1/models/digits:predict"
        yield Running(url, [gateway.process.pid, engine.pid])
    finally:
        gateway.stop()
        engine.terminate()
        engine.wait(WAIT_S)


def _packages(root: Path) -> list[str]:
    """The folders of a checkout that hold importable packages."""
    return sorted(str(found.parent) for found in root.glob("*/*/pyproject.toml"))
