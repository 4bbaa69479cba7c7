"""What the images promise that are built here: how large, and ready to start."""

from __future__ import annotations

import re

import pytest

from tests.containers.compose_project import ROOT, ComposeProject, docker

BASE = "python:3.11-slim"
OWN_MB_MAX = {"ingest": 110, "persistor": 90, "gateway": 100, "trainer": 1100, "serving": 1100}
"""What an image adds to its base, which others make and may make larger or smaller."""
ADAPTERS = "tidemill_chassis.adapters.pubsub_bus, tidemill_chassis.adapters.gcs_objects"
STARTS = {
    "ingest": ["tidemill_ingest.main"],
    "persistor": ["tidemill_persistor.main"],
    "trainer": ["tidemill_trainer.main", "tidemill_trainer.recipes.image_classifier"],
    "serving": ["tidemill_serving.main", "tidemill_serving.engine.running"],
    "gateway": ["tidemill_gateway.main", "tidemill_gateway.server.worker"],
}


def size_mb(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image)) // 10**6


@pytest.mark.parametrize("service", OWN_MB_MAX)
def test_an_image_adds_no_more_to_its_base_than_it_may(service: str, project: ComposeProject) -> None:
    assert size_mb(f"tidemill/{service}:dev") - size_mb(BASE) <= OWN_MB_MAX[service]


@pytest.mark.parametrize("service", STARTS)
def test_whatever_a_service_imports_at_its_start_is_compiled(service: str, project: ComposeProject) -> None:
    """The root file system is read-only: what is not compiled in the image is compiled at every start."""
    statement = f"import {', '.join(STARTS[service])}, {ADAPTERS}"
    look = f"python -v -c '{statement}' 2>&1 | grep -E \"^# code object from '.*[.]py'$\"; true"

    compiled_now = docker("run", "--rm", "--entrypoint", "sh", f"tidemill/{service}:dev", "-c", look)

    assert compiled_now == ""


@pytest.mark.parametrize("service", [*STARTS, "cli"])
def test_everything_from_others_in_an_image_is_pinned(service: str, project: ComposeProject) -> None:
    look = (
        "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    )
    files = [ROOT / "requirements", ROOT / "containers/image"]
    pins = {
        canonical(pin)
        for folder in files
        for file in folder.glob("*.txt")
        for pin in file.read_text().split()
    }

    packages = docker(
        "run", "--rm", "--entrypoint", "/opt/tidemill/bin/python", f"tidemill/{service}:dev", "-Ic", look
    )

    assert {canonical(package) for package in packages.split()} <= pins


def canonical(pin: str) -> str:
    """NAME==VERSION with the name as the index compares it."""
    name, _, version = pin.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"
