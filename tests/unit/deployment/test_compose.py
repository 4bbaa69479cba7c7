"""Policies of compose.yaml, and of what it mounts: secrets, monitoring."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
ONCE = {"provision", "demo"}
PUBLIC_IMAGES = {"prometheus", "grafana"}
"""They are as their makers built them, and say themselves whether they are well."""
PROCESS_METRICS = {
    "up", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes",
    "process_open_fds",
}  # fmt: skip
WORDS = {"sum", "by", "rate", "increase", "changes", "absent", "vector", "count", "le", "and", "or"}
WORDS |= {"histogram_quantile", "label_values"}


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


def names_in(expression: str) -> set[str]:
    """The metrics of a query: identifiers that are no label, no function and no duration."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|\b(by|without)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - WORDS


def labels_in(expression: str) -> set[str]:
    matched = {
        name
        for found in re.findall(r"\{([^}]*)\}", expression)
        for name in re.findall(r"(\w+)\s*[=!]", found)
    }
    grouped = {
        name for found in re.findall(r"\bby\s*\(([^)]*)\)", expression) for name in re.split(r"[,\s]+", found)
    }
    return matched | grouped - {""}


@cache
def declared() -> dict[str, set[str]]:
    """Every metric that the services' code declares, as Prometheus names it, with its labels."""
    found: dict[str, set[str]] = {}
    pattern = re.compile(r"(Counter|Gauge|Histogram)\(\s*\"(\w+)\",\s*\"[^\"]*\"(?:,\s*\[([^\]]*)\])?", re.S)
    for file in ROOT.glob("services/*/tidemill_*/**/*.py"):
        for kind, name, labels in pattern.findall(file.read_text()):
            own = set(re.findall(r"\"(\w+)\"", labels))
            endings = ("_bucket", "_sum", "_count") if kind == "Histogram" else ("",)
            found |= {name + ending: own | {"le"} for ending in endings}
    return found


def test_a_declared_metric_is_what_a_service_shows() -> None:
    """The pattern above against one service's own exposition."""
    from tidemill_chassis import metrics
    from tidemill_persistor import measures

    assert measures.MESSAGES
    families: list[Metric] = list(text_string_to_metric_families(metrics.exposition().decode()))
    shown = {family.name.removesuffix("_created") for family in families}
    shown = {name for name in shown if name.startswith("tidemill_persistor")}
    assert shown <= {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in declared()}


def queries() -> list[Any]:
    rules = yaml.safe_load((ROOT / "containers/monitoring/prometheus/alerts.yaml").read_text())
    found = [(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    for panel in dashboard()["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    return [pytest.param(expression, id=name.replace(" ", "-")) for name, expression in found]


@cache
def dashboard() -> dict[str, Any]:
    file = ROOT / "containers/monitoring/grafana/dashboards/tidemill.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("expression", queries())
def test_every_query_asks_for_what_a_service_shows(expression: str) -> None:
    names = names_in(expression)

    assert names
    assert names <= declared().keys() | PROCESS_METRICS
    known = {label for name in names for label in declared().get(name, set())} | {"job", "instance"}
    assert labels_in(expression) <= known
    assert expression.count("(") == expression.count(")")


def test_every_alert_is_explained_where_the_operator_reads() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    rules = yaml.safe_load((ROOT / "containers/monitoring/prometheus/alerts.yaml").read_text())

    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in text, f"docs/operating.md says nothing of {rule['alert']}"


def test_every_service_is_scraped_at_the_port_that_it_opens() -> None:
    jobs = yaml.safe_load((ROOT / "containers/monitoring/prometheus/prometheus.yaml").read_text())[
        "scrape_configs"
    ]

    for job in jobs:
        (found,) = job["dns_sd_configs"]
        (name,) = found["names"]
        exposed = re.search(r"^EXPOSE (.*)$", (ROOT / f"services/{name}/Dockerfile").read_text(), re.M)
        assert exposed
        assert str(found["port"]) in exposed[1].split()


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
