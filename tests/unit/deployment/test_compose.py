"""Policies of compose.yaml, and of the secrets that it mounts."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ONCE = {"provision", "demo"}
PUBLIC_IMAGES = {"prometheus", "grafana"}
"""They are as their makers built them, and say themselves whether they are well."""


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def services() -> list[Any]:
    return [pytest.param(name, each, id=name) for name, each in compose()["services"].items()]


@pytest.mark.parametrize(("name", "service"), services())
class TestEveryService:
    def test_may_no_more_than_it_must(self, name: str, service: dict[str, Any]) -> None:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
        user = re.sub(r"\$\{\w+:-(\d+(?::\d+)?)\}", r"\1", str(service["user"]))
        assert re.fullmatch(r"[1-9]\d*(:\d+)?", user)

    def test_has_limits(self, name: str, service: dict[str, Any]) -> None:
        assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory", "pids"}
        assert service["logging"]["options"].keys() >= {"max-size", "max-file"}
        for mount in service["tmpfs"]:
            assert "size=" in mount

    def test_opens_doors_to_this_machine_only(self, name: str, service: dict[str, Any]) -> None:
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))

    def test_has_an_image_with_a_tag(self, name: str, service: dict[str, Any]) -> None:
        tag = service["image"].split("/")[-1].partition(":")[2]

        assert tag
        assert tag != "latest"

    def test_starts_again_and_says_whether_it_is_well(self, name: str, service: dict[str, Any]) -> None:
        if name in ONCE:
            assert service["restart"] in {"no", "on-failure:5"}
            return
        assert service["restart"] == "unless-stopped"
        built = service.get("build", {}).get("dockerfile")
        in_image = built and "HEALTHCHECK --interval" in (ROOT / built).read_text()
        assert in_image or "healthcheck" in service or name in PUBLIC_IMAGES

    def test_has_no_secret_in_its_environment(self, name: str, service: dict[str, Any]) -> None:
        for variable, value in service.get("environment", {}).items():
            secretive = re.search(r"PASSWORD|SECRET|TOKEN|_KEY", variable)
            assert not secretive or variable.endswith(("_FILE", "_KEYS")), variable
            assert not re.search(r"//[^/@]*:[^/@]*@", str(value)), f"{variable} holds a password"

    def test_waits_for_what_it_needs(self, name: str, service: dict[str, Any]) -> None:
        waits = service.get("depends_on", {})
        if isinstance(waits, dict):
            wanted = {"service_healthy", "service_completed_successfully"}
            assert all(condition["condition"] in wanted for condition in waits.values())


class _Overlay(yaml.SafeLoader):
    """Reads what compose's own tags stand on, as if they were not there."""


def _untagged(loader: _Overlay, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Overlay.add_constructor("!override", _untagged)


def test_without_the_emulators_nobody_waits_for_them() -> None:
    """Compose cannot stop a project in which somebody depends on a service that is left out."""
    environment = (ROOT / "containers/embedded.env").read_text()
    files = re.findall(r"^COMPOSE_FILE=(.*)$", environment, re.M)[0].split(":")
    first, overlay = [yaml.load((ROOT / file).read_text(), _Overlay)["services"] for file in files]  # noqa: S506
    left_out = {name for name, each in overlay.items() if "profiles" in each}
    waits = {name: {**each, **overlay.get(name, {})}.get("depends_on", {}) for name, each in first.items()}

    assert left_out == {"pubsub", "storage", "provision"}
    for name, found in waits.items():
        assert name in left_out or not left_out & set(found), name


def test_the_script_makes_every_secret_for_its_owner_alone(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run([str(ROOT / "containers" / "make-secrets"), "secrets"], cwd=tmp_path, check=True)
    folder = tmp_path / "secrets"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    subprocess.run([str(ROOT / "containers" / "make-secrets"), "secrets"], cwd=tmp_path, check=True)

    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    named = {secret["file"].rsplit("/", 1)[1] for secret in compose()["secrets"].values()}
    assert named <= before.keys()
    assert before["pgpass"].strip().endswith(before["postgres_password"].strip())


def test_secrets_are_never_committed_nor_sent_to_a_builder() -> None:
    assert ".secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!.secrets" not in (ROOT / ".dockerignore").read_text()
