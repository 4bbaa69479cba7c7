"""Whatever is named exists: services, ports, accounts, maps, secrets, models."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.unit.deployment.manifests import (
    K8S,
    OVERLAYS,
    ROOT,
    containers,
    matches,
    name_of,
    of_kind,
    workloads,
)

BY_OVERLAY = pytest.mark.parametrize("overlay", OVERLAYS)


def documented_secrets() -> dict[str, set[str]]:
    """Secrets and their keys that k8s/README.md says a person must make."""
    rows = re.findall(r"^\| Secret `([a-z-]+)` \| (.+?) \|", (K8S / "README.md").read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`([a-z.]+)`", keys)) for name, keys in rows}


@BY_OVERLAY
def test_selectors_match_their_own_pods_and_no_others(overlay: str) -> None:
    for workload in workloads(overlay):
        if workload.kind in {"Deployment", "StatefulSet"}:
            selector = workload.object["spec"]["selector"]
            selected = [each.name for each in workloads(overlay) if matches(selector, each.labels)]
            assert selected == [workload.name]


@BY_OVERLAY
def test_services_lead_to_ports_that_are_open(overlay: str) -> None:
    for service in of_kind(overlay, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        (target,) = (each for each in workloads(overlay) if matches(selector, each.labels))
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in target.ports(), name_of(service)
            assert target.ports()[port["targetPort"]] == port["port"], name_of(service)


@BY_OVERLAY
def test_routes_lead_to_ports_of_services(overlay: str) -> None:
    open_ports = {
        (name_of(service), port)
        for service in of_kind(overlay, "Service")
        for each in service["spec"]["ports"]
        for port in (each["port"], each["name"])
    }
    led_to = set()
    for route in of_kind(overlay, "HTTPRoute") + of_kind(overlay, "GRPCRoute"):
        (gateway,) = of_kind(overlay, "Gateway")
        listeners = {listener["name"] for listener in gateway["spec"]["listeners"]}
        assert all(parent["name"] == name_of(gateway) for parent in route["spec"]["parentRefs"])
        assert all(parent["sectionName"] in listeners for parent in route["spec"]["parentRefs"])
        for rule in route["spec"]["rules"]:
            led_to |= {(backend["name"], backend["port"]) for backend in rule["backendRefs"]}
    for ingress in of_kind(overlay, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                led_to.add((backend["name"], backend["port"]["name"]))

    assert led_to
    assert led_to <= open_ports


@BY_OVERLAY
def test_no_route_leads_to_metrics_or_health(overlay: str) -> None:
    paths = [
        match["path"]["value"]
        for route in of_kind(overlay, "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        if match["path"]["type"] == "PathPrefix"
    ] + [
        path["path"]
        for ingress in of_kind(overlay, "Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
        if path["pathType"] == "Prefix"
    ]

    assert paths
    for hidden in ("/metrics", "/healthz", "/readyz"):
        assert not any(hidden.startswith(path) for path in paths)


@BY_OVERLAY
def test_maps_secrets_and_accounts_exist(overlay: str) -> None:
    maps = {name_of(each) for each in of_kind(overlay, "ConfigMap")}
    accounts = {name_of(each) for each in of_kind(overlay, "ServiceAccount")}
    secrets = documented_secrets()
    assert of_kind(overlay, "Secret") == [], "secrets are made by a person, not kept here"
    for workload in workloads(overlay):
        assert workload.spec.get("serviceAccountName", "default") in accounts | {"default"}
        for volume in workload.spec.get("volumes", []):
            assert volume.get("configMap", {}).get("name") in maps | {None}, workload.name
            assert volume.get("secret", {}).get("secretName") in {*secrets, None}, workload.name
    for workload, container in containers(overlay):
        for source in container.get("envFrom", []):
            assert source["configMapRef"]["name"] in maps, workload.name
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                assert reference["key"] in secrets[reference["name"]], workload.name


@BY_OVERLAY
def test_certificates_are_secrets_that_are_told_of(overlay: str) -> None:
    named = [
        reference["name"]
        for gateway in of_kind(overlay, "Gateway")
        for listener in gateway["spec"]["listeners"]
        for reference in listener["tls"]["certificateRefs"]
    ] + [tls["secretName"] for ingress in of_kind(overlay, "Ingress") for tls in ingress["spec"]["tls"]]

    assert named
    assert set(named) <= set(documented_secrets())


@BY_OVERLAY
def test_every_mount_has_its_volume(overlay: str) -> None:
    for workload, container in containers(overlay):
        claims = workload.object["spec"].get("volumeClaimTemplates", [])
        volumes = {each["name"] for each in workload.spec.get("volumes", [])} | {
            each["metadata"]["name"] for each in claims
        }
        assert {each["name"] for each in container.get("volumeMounts", [])} <= volumes, workload.name


def test_every_model_is_deployed() -> None:
    listed = yaml.safe_load((ROOT / "models" / "Kustomization").read_text())["configMapGenerator"]

    (models,) = listed
    assert sorted(models["files"]) == sorted(path.name for path in (ROOT / "models").glob("*.yaml"))


def test_no_file_under_k8s_is_left_out() -> None:
    used = {
        str((folder.parent / each).resolve())
        for folder in K8S.rglob("kustomization.yaml")
        for each in _named(yaml.safe_load(folder.read_text()))
    }
    written = {
        str(path)
        for path in K8S.rglob("*.yaml")
        if path.name != "kustomization.yaml" and "cloudrun" not in path.parts
    }

    assert written - used == set()


def _named(kustomization: dict[str, object]) -> list[str]:
    named = [str(each) for each in kustomization.get("resources", [])]  # type: ignore[attr-defined]
    patches = kustomization.get("patches", [])
    return named + [str(each["path"]) for each in patches if "path" in each]  # type: ignore[attr-defined]
