"""A platform of the ring's own, built and started once; it is removed with its volumes at the end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.containers.compose_project import ROOT, ComposeProject, has_engine, wait_until
from tests.containers.outside import Digit, Outside, real_digits
from tests.emulators.machine import free_port

NAME = "tidemill-ring"
GATEWAYS = 3
FIRST_MODEL_S_MAX = 300


@pytest.fixture(scope="session")
def digits() -> list[Digit]:
    return real_digits()


@pytest.fixture(scope="session")
def ring_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' model, trained for a moment only: the ring is about containers, not about accuracy."""
    spec = yaml.safe_load((ROOT / "models" / "digits.yaml").read_text())
    spec["training"] |= {"epochs_max": 2, "augment": False}
    spec["round"] |= {"samples_min": 300, "age_s_max": 20}
    spec["retry"] |= {"every_s": 3600}
    spec["gate"] |= {"gain_min": 0.0}
    folder = tmp_path_factory.mktemp("models")
    (folder / "digits.yaml").write_text(yaml.safe_dump(spec))
    folder.chmod(0o755)
    for parent in folder.parents[:2]:
        parent.chmod(0o755)  # the containers' user reads it
    return folder


@pytest.fixture(scope="session")
def small_file_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of 128 MB for the store's volume, so that it can be filled; only root may mount one."""
    if os.geteuid() != 0:
        yield None
        return
    folder = tmp_path_factory.mktemp("small")
    options = ["-t", "tmpfs", "-o", "size=128m,mode=1777", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def project(
    ring_models: Path, small_file_system: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComposeProject]:
    """The running project. TIDEMILL_RING_IMAGES=built uses the images that are there."""
    if not has_engine():
        pytest.skip("no container engine answers here: see docs/operating.md")
    subprocess.run([str(ROOT / "containers" / "make-secrets")], cwd=ROOT, check=True)
    ports = {
        f"TIDEMILL_{name}_PORT": str(free_port())
        for name in ("PUBSUB", "STORAGE", "POSTGRES", "REDIS", "INGEST")
    }
    ports["TIDEMILL_GATEWAY_PORT"] = "28501-28503"
    ports["TIDEMILL_GATEWAY_GRPC_PORT"] = "28511-28513"
    environ = {**ports, "TIDEMILL_MODELS_FOLDER": str(ring_models)}
    files = [ROOT / "compose.yaml"]
    if small_file_system:
        options = {"type": "none", "o": "bind", "device": str(small_file_system)}
        volume = {"driver": "local", "driver_opts": options}
        files.append(tmp_path_factory.mktemp("overlay") / "volume.yaml")
        files[-1].write_text(yaml.safe_dump({"volumes": {"objects": volume}}))
    made = ComposeProject(NAME, files, environ, small_file_system)
    if os.environ.get("TIDEMILL_RING_IMAGES") != "built":
        made.compose("build")
    made.compose("down", "--volumes", "--remove-orphans")
    made.up()
    yield made
    logs = os.environ.get("TIDEMILL_RING_LOGS")
    if logs:
        Path(logs).write_text(made.compose("logs", "--no-color"))
    made.compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def outside(project: ComposeProject) -> Outside:
    inner = {"ingest": 8080, "gateway": 8501, "pubsub": 8085, "storage": 9000}
    return Outside(project, {name: project.port(name, port) for name, port in inner.items()})


@pytest.fixture(scope="session")
def trained(outside: Outside, digits: list[Digit]) -> Outside:
    """The platform with a first version that serves."""
    if outside.labels().get("stable") is None:
        for at in range(0, 400, 100):
            wanted = digits[at : at + 100]
            outside.publish([{"label": digit.label, "image": digit.b64} for digit in wanted])
        wait_until(lambda: outside.labels().get("stable"), FIRST_MODEL_S_MAX, "a first version is stable")
    return outside


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """What nobody may ever read anywhere, by the file that holds it."""
    folder = ROOT / ".secrets"
    names = ("postgres_password", "grafana_password", "predict_key", "operate_key", "publish_key")
    found = {name: (folder / name).read_text().strip() for name in names}
    assert all(len(value) >= 32 for value in found.values()), json.dumps(list(found))
    return found
