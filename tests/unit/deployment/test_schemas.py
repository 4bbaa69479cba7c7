"""Everything an API server would refuse is a bug."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from kubernetes_validate import utils

from tests.unit.deployment.manifests import OVERLAYS, name_of, of_kind, rendered

VERSION = "1.32"
FOREIGN = {
    "gateway.networking.k8s.io/v1",
    "keda.sh/v1alpha1",
    "networking.gke.io/v1",
}
"""Kinds that clusters learn from others; their schemas are not in the package."""


def test_every_object_fits_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package reads a megabyte of definitions for each object; once is enough.
    monkeypatch.setattr(utils, "schema_contents", cache(utils.schema_contents))
    every = {json.dumps(each): each for overlay in OVERLAYS for each in rendered(overlay)}
    faults = []
    for each in every.values():
        if each["apiVersion"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(each, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{each['kind']} {name_of(each)}: {error.message} at {list(error.path)}")

    assert faults == []


def test_a_typing_error_would_be_found() -> None:
    (deployment,) = (each for each in of_kind("gke", "Deployment") if name_of(each) == "gateway")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 3}}

    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique_valid_and_in_the_namespace(overlay: str) -> None:
    known: set[tuple[Any, ...]] = set()
    for each in rendered(overlay):
        name = name_of(each)
        key = (each["apiVersion"], each["kind"], name)
        assert key not in known, key
        known.add(key)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", name), name
        if each["kind"] != "Namespace":
            assert each["metadata"]["namespace"] == "tidemill", key


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_two_ports_or_mounts_of_a_pod_have_one_name(overlay: str) -> None:
    for each in rendered(overlay):
        for pod in _pods(each):
            names = [volume["name"] for volume in pod.get("volumes", [])]
            inside = [*pod.get("initContainers", []), *pod["containers"]]
            ports = [port["name"] for one in inside for port in one.get("ports", [])]
            assert len(set(names)) == len(names)
            assert len(set(ports)) == len(ports)
            assert all(len(port) <= 15 for port in ports), ports


def _pods(value: Any) -> list[Any]:
    """Every pod spec inside an object."""
    if isinstance(value, dict):
        if "containers" in value and "resources" not in value:
            return [value]
        return [found for each in value.values() for found in _pods(each)]
    if isinstance(value, list):
        return [found for each in value for found in _pods(each)]
    return []
