"""What Kubernetes would be given, rendered by kubectl and read once per process."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.emulators.machine import missing

ROOT = Path(__file__).parents[3]
K8S = ROOT / "k8s"
OVERLAYS = ("local", "gke", "gke-jobs", "gke-cluster")
SERVICES = ("ingest", "persistor", "trainer", "serving", "gateway")

Object = dict[str, Any]
_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Workload:
    """Something that makes pods. template: of its pods."""

    object: Object
    template: Object

    @property
    def kind(self) -> str:
        return str(self.object["kind"])

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"]["labels"])

    @property
    def spec(self) -> Object:
        return dict(self.template["spec"])

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def ports(self) -> dict[str, int]:
        """Every named port of its containers."""
        found = (port for container in self.containers for port in container.get("ports", []))
        return {port["name"]: port["containerPort"] for port in found}


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """The overlay's objects, as `kubectl kustomize` makes them."""
    if shutil.which("kubectl") is None:
        missing("kubectl", "install kubectl: it renders k8s/ (kustomize is in it)")
    made = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / overlay)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return tuple(each for each in _load(made.stdout) if each)


@cache
def cloud_run() -> dict[str, Object]:
    """The Knative services, by file name."""
    return {path.stem: _load(path.read_text())[0] for path in sorted((K8S / "cloudrun").glob("*.yaml"))}


def _load(text: str) -> list[Object]:
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def of_kind(overlay: str, kind: str) -> list[Object]:
    return [each for each in rendered(overlay) if each["kind"] == kind]


def name_of(each: Object) -> str:
    return str(each["metadata"]["name"])


def workloads(overlay: str) -> list[Workload]:
    """Whatever makes pods."""
    found = []
    for each in rendered(overlay):
        if each["kind"] in _TEMPLATES:
            template = each
            for step in _TEMPLATES[each["kind"]]:
                template = template[step]
            found.append(Workload(each, template))
    return found


def containers(overlay: str) -> Iterator[tuple[Workload, Object]]:
    for workload in workloads(overlay):
        for container in workload.containers:
            yield workload, container


def service_of_image(image: str) -> str | None:
    """Which of our services an image is; None for others' images, `cli` for the command line."""
    name = image.rpartition(":")[0]
    return name.rpartition("/")[2] if "tidemill/" in name else None


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector selects; an empty one selects everything."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", "only In is used here"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True
