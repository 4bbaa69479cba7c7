"""Who may connect to whom is what docs/architecture.md says, and nothing else."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from tidemill_trainer.launchers.clusters import KubernetesJobs, Machine

from tests.unit.deployment.manifests import OVERLAYS, ROOT, matches, of_kind, workloads

ENGINES = {
    "ingest": {"bus", "store"},
    "persistor": {"bus", "store"},
    "trainer": {"bus", "store", "database"},
    "serving": {"bus", "store"},
    "gateway": {"bus", "store", "cache"},
    "verify": {"store", "database"},
    "provision": {"bus", "store", "database"},
    "train": {"bus", "store", "database"},
}
"""Which engines each needs: the arrows of the design."""
CALLS = {("gateway", "serving", 8500)}
FROM_OUTSIDE = {("ingest", 8080), ("gateway", 8501), ("gateway", 8502)}
METRICS = {("ingest", 8080), ("persistor", 8081), ("trainer", 8403), ("serving", 8511), ("gateway", 8501)}
LOCAL = {
    "bus": ("pubsub", 8085),
    "store": ("storage", 9000),
    "database": ("postgres", 5432),
    "cache": ("redis", 6379),
}
GOOGLE = {
    "bus": {("199.36.153.8", 443)},
    "store": {("199.36.153.8", 443)},
    "database": {("10.100.0.3", 3307), ("199.36.153.8", 443)},
    "cache": {("10.100.1.3", 6379)},
    "cluster": {("172.16.0.2", 443)},
}

OUR_NAMESPACE = {"kubernetes.io/metadata.name": "tidemill"}
Peer = dict[str, Any]


def pod(labels: dict[str, str], namespace: dict[str, str] = OUR_NAMESPACE) -> Peer:
    return {"labels": labels, "namespace": namespace, "ip": None}


def address(ip: str) -> Peer:
    return {"labels": {}, "namespace": {}, "ip": ip}


def allowed(overlay: str, direction: str, subject: dict[str, str], peer: Peer, port: int) -> bool:
    """Whether the policies let our pod exchange with the peer: Kubernetes' rules, of the parts used here."""
    isolated = False
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        if direction.capitalize() not in spec["policyTypes"] or not matches(spec["podSelector"], subject):
            continue
        isolated = True
        for rule in spec.get(direction, []):
            peers = rule["to" if direction == "egress" else "from"]
            if any(_is(each, peer) for each in peers) and any(
                each["port"] == port and each["protocol"] == "TCP" for each in rule["ports"]
            ):
                return True
    return not isolated


def _is(rule: Peer, peer: Peer) -> bool:
    if "ipBlock" in rule:
        return peer["ip"] is not None and ip_address(peer["ip"]) in ip_network(rule["ipBlock"]["cidr"])
    if peer["ip"] is not None:
        return False
    selected = matches(rule.get("podSelector", {}), peer["labels"])
    if "namespaceSelector" in rule:
        return selected and matches(rule["namespaceSelector"], peer["namespace"])
    return selected and peer["namespace"] == OUR_NAMESPACE


def test_in_one_cluster_only_the_arrows_are_open() -> None:
    pods = {each.name: each for each in workloads("local")}
    ports = {name: set(each.ports().values()) for name, each in pods.items()}
    found = {
        (source, target, port)
        for source, sender in pods.items()
        for target, receiver in pods.items()
        if source != target
        for port in ports[target]
        if allowed("local", "egress", sender.labels, pod(receiver.labels), port)
        and allowed("local", "ingress", receiver.labels, pod(sender.labels), port)
    }

    assert found == CALLS | {
        (source, *LOCAL[engine]) for source in pods if source in ENGINES for engine in ENGINES[source]
    }


@pytest.mark.parametrize("overlay", ["gke", "gke-jobs", "gke-cluster"])
def test_on_google_cloud_each_reaches_its_own_engines_only(overlay: str) -> None:
    everywhere = {where for engine in GOOGLE.values() for where in engine} | {
        ("8.8.8.8", 443),
        ("10.0.0.1", 443),
    }
    for workload in workloads(overlay):
        needed = set(ENGINES[workload.name])
        if (overlay, workload.name) == ("gke-cluster", "trainer"):
            needed.add("cluster")  # it makes Jobs
        reached = {
            (ip, port)
            for ip, port in everywhere
            if allowed(overlay, "egress", workload.labels, address(ip), port)
        }
        assert reached == {where for engine in needed for where in GOOGLE[engine]}, workload.name


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ({"tidemill/entrance": "true"}, FROM_OUTSIDE),
        ({"tidemill/monitoring": "true"}, METRICS),
        ({"kubernetes.io/metadata.name": "stranger"}, set()),
    ],
)
def test_from_other_namespaces_only_what_is_meant_for_them(
    overlay: str, namespace: dict[str, str], expected: set[tuple[str, int]]
) -> None:
    reached = {
        (workload.name, port)
        for workload in workloads(overlay)
        for port in workload.ports().values()
        if allowed(overlay, "ingress", workload.labels, pod({"app": "any"}, namespace), port)
    }

    assert reached == {each for each in expected if each[0] in {one.name for one in workloads(overlay)}}


def test_from_the_world_only_googles_load_balancers_come_in() -> None:
    for ip, expected in (("35.191.1.1", FROM_OUTSIDE), ("130.211.0.9", FROM_OUTSIDE), ("9.9.9.9", set())):
        reached = {
            (workload.name, port)
            for workload in workloads("gke")
            for port in workload.ports().values()
            if allowed("gke", "ingress", workload.labels, address(ip), port)
        }
        assert reached == expected, ip


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_may_ask_for_names(overlay: str) -> None:
    dns = pod({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})

    assert all(allowed(overlay, "egress", each.labels, dns, 53) for each in workloads(overlay))


def test_compose_has_a_network_for_every_arrow_and_keeps_the_database_apart() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    networks = {name: set(each.get("networks", [])) for name, each in services.items()}
    engines = {"bus": "pubsub", "store": "storage", "database": "postgres", "cache": "redis"}
    for source, needed in ENGINES.items():
        for engine in needed if source in services else ():
            assert networks[source] & networks[engines[engine]], (source, engine)

    assert networks["gateway"] & networks["model-server"]
    for source in ("ingest", "persistor", "serving", "gateway"):
        assert not networks[source] & networks["postgres"], source
    for source in ("ingest", "persistor", "trainer"):
        assert not networks[source] & networks["model-server"], source


def test_a_job_that_the_trainer_makes_reaches_nobody() -> None:
    created = KubernetesJobs(Machine("image"), "tidemill", claim="training", mount="/work").create(
        "job", Path("/mnt/job")
    )
    assert created.body is not None
    labels = created.body["spec"]["template"]["metadata"]["labels"]
    everywhere = {where for engine in GOOGLE.values() for where in engine}

    assert not any(allowed("gke-cluster", "egress", labels, address(ip), port) for ip, port in everywhere)
    for workload in workloads("gke-cluster"):
        for port in workload.ports().values():
            assert not allowed("gke-cluster", "ingress", workload.labels, pod(labels), port), workload.name
