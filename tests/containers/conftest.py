"""A platform of the ring's own, built and started once; it is removed with its volumes at the end.

TIDEMILL_RING_IMAGES=built uses the images that are there. TIDEMILL_RING_KEEP=1 uses the platform of an
earlier run, if it is still up, and leaves it up. TIDEMILL_RING_LOGS names a file for the containers' logs.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.containers.compose_project import ROOT, ComposeProject, has_engine, wait_until
from tests.containers.outside import Digit, Outside, real_digits

NAME = "tidemill-ring"
WORK = Path(tempfile.gettempdir()) / NAME
"""The same in every run: a platform that is kept must find its mounts again."""
PORTS = {
    "TIDEMILL_PUBSUB_PORT": "28085",
    "TIDEMILL_STORAGE_PORT": "28900",
    "TIDEMILL_POSTGRES_PORT": "28432",
    "TIDEMILL_REDIS_PORT": "28379",
    "TIDEMILL_INGEST_PORT": "28080",
    "TIDEMILL_GATEWAY_PORT": "28501-28503",
    "TIDEMILL_GATEWAY_GRPC_PORT": "28511-28513",
}
KEEP = os.environ.get("TIDEMILL_RING_KEEP") == "1"
FIRST_MODEL_S_MAX = 300


@pytest.fixture(scope="session")
def digits() -> list[Digit]:
    return real_digits()


@pytest.fixture(scope="session")
def ring_models() -> Path:
    """The digits' model, trained for a moment only: the ring is about containers, not about accuracy."""
    spec = yaml.safe_load((ROOT / "models" / "digits.yaml").read_text())
    spec["training"] |= {"epochs_max": 2, "augment": False}
    spec["round"] |= {"samples_min": 300, "age_s_max": 20}
    spec["retry"] |= {"every_s": 3600}
    spec["gate"] |= {"gain_min": 0.0}
    folder = WORK / "models"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "digits.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture(scope="session")
def small_file_system() -> Iterator[Path | None]:
    """A file system of 128 MB for the store's volume, so that it can be filled; only root may mount one."""
    folder = WORK / "small"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not folder.is_mount():
        options = ["-t", "tmpfs", "-o", "size=128m,mode=1777", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(["mount", *options], check=False).returncode:
            yield None
            return
    yield folder
    if not KEEP:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def project(ring_models: Path, small_file_system: Path | None) -> Iterator[ComposeProject]:
    """The running project."""
    if not has_engine():
        pytest.skip("no container engine answers here: see docs/operating.md")
    subprocess.run([str(ROOT / "containers" / "make-secrets")], cwd=ROOT, check=True)
    files = [ROOT / "compose.yaml"]
    if small_file_system:
        options = {"type": "none", "o": "bind", "device": str(small_file_system)}
        files.append(WORK / "volume.yaml")
        files[-1].write_text(
            yaml.safe_dump({"volumes": {"objects": {"driver": "local", "driver_opts": options}}})
        )
    environ = {**PORTS, "TIDEMILL_MODELS_FOLDER": str(ring_models)}
    made = ComposeProject(NAME, files, environ, small_file_system)
    if os.environ.get("TIDEMILL_RING_IMAGES") != "built":
        made.compose("build")
    if not KEEP:
        made.compose("down", "--volumes", "--remove-orphans")
    made.up()
    yield made
    logs = os.environ.get("TIDEMILL_RING_LOGS")
    if logs:
        Path(logs).write_text(made.compose("logs", "--no-color"))
    if not KEEP:
        made.compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def outside(project: ComposeProject) -> Outside:
    inner = {"ingest": 8080, "gateway": 8501, "pubsub": 8085, "storage": 9000}
    return Outside(project, inner)


@pytest.fixture(scope="session")
def trained(outside: Outside, digits: list[Digit]) -> Outside:
    """The platform with a first version that serves."""
    if outside.labels().get("stable") is None:
        for at in range(0, 400, 100):
            wanted = digits[at : at + 100]
            outside.publish([{"label": digit.label, "image": digit.b64} for digit in wanted])
        wait_until(lambda: outside.labels().get("stable"), FIRST_MODEL_S_MAX, "a first version is stable")
    wait_until(lambda: _predicts(outside, digits[0]), 60, "the gateway predicts")
    return outside


def _predicts(outside: Outside, digit: Digit) -> bool:
    try:
        outside.predict([digit])
    except httpx.HTTPError:
        return False
    return True


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """What nobody may ever read anywhere, by the file that holds it."""
    folder = ROOT / ".secrets"
    names = ("postgres_password", "grafana_password", "predict_key", "operate_key", "publish_key")
    found = {name: (folder / name).read_text().strip() for name in names}
    assert all(len(value) >= 32 for value in found.values()), list(found)
    return found
