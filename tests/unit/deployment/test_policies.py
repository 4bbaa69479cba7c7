"""What every pod of ours must be: closed, limited, probed, replaceable without a lost request."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from tidemill_trainer.launchers.addresses import open_launcher
from tidemill_trainer.launchers.clusters import KubernetesJobs, Machine

from tests.unit.deployment.manifests import (
    OVERLAYS,
    containers,
    matches,
    name_of,
    of_kind,
    workloads,
)

BY_OVERLAY = pytest.mark.parametrize("overlay", OVERLAYS)
STANDING = {"Deployment", "StatefulSet"}
DRAIN_S = {"ingest": 20, "gateway": 30, "serving": 20, "persistor": 8, "trainer": 10}
"""How long each may take after SIGTERM, by its README."""


@BY_OVERLAY
def test_no_pod_runs_as_root_or_gains_rights(overlay: str) -> None:
    for workload in workloads(overlay):
        context = workload.spec["securityContext"]
        assert context["runAsNonRoot"] is True, workload.name
        assert context["runAsUser"] > 0, workload.name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, workload.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(workload.spec), workload.name
        assert not any("hostPath" in volume for volume in workload.spec.get("volumes", [])), workload.name
    for workload, container in containers(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, (workload.name, container["name"])


@BY_OVERLAY
def test_the_namespace_enforces_the_restricted_standard(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@BY_OVERLAY
def test_every_image_has_a_tag_that_stays(overlay: str) -> None:
    for workload, container in containers(overlay):
        _, _, tag = container["image"].rpartition(":")
        assert re.fullmatch(r"[A-Za-z0-9._-]+", tag), container["image"]
        assert tag != "latest", container["image"]
        if overlay != "local" and "tidemill/" in container["image"]:
            assert re.fullmatch(r"\d+\.\d+\.\d+", tag), (workload.name, container["image"])


@BY_OVERLAY
def test_every_container_has_requests_and_limits(overlay: str) -> None:
    for workload, container in containers(overlay):
        for kind in ("requests", "limits"):
            given = set(container["resources"][kind])
            assert {"cpu", "memory", "ephemeral-storage"} <= given, (workload.name, container["name"], kind)


@BY_OVERLAY
def test_what_stands_is_probed_and_liveness_asks_no_neighbour(overlay: str) -> None:
    for workload, container in containers(overlay):
        if workload.kind not in STANDING:
            continue
        where = (workload.name, container["name"])
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), where
        if "httpGet" in container["livenessProbe"] and container["name"] != "cloud-sql-proxy":
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", where
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", where


@BY_OVERLAY
def test_probes_ask_ports_that_their_container_opens(overlay: str) -> None:
    for workload, container in containers(overlay):
        names = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            found = container.get(probe, {})
            port = found.get("httpGet", found.get("tcpSocket", {})).get("port")
            assert port is None or port in names, (workload.name, container["name"], probe)


@BY_OVERLAY
def test_no_pod_holds_a_token_of_the_cluster_but_a_trainer_that_makes_jobs(overlay: str) -> None:
    for workload in workloads(overlay):
        makes_jobs = (overlay, workload.name) == ("gke-cluster", "trainer")
        assert workload.spec["automountServiceAccountToken"] is makes_jobs, workload.name
    for account in of_kind(overlay, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, name_of(account)


@BY_OVERLAY
def test_each_service_has_an_account_of_its_own(overlay: str) -> None:
    ours = [each for each in workloads(overlay) if "serviceAccountName" in each.spec]
    names = [each.spec["serviceAccountName"] for each in ours]

    assert len(names) == len(set(names))
    assert set(names) == {name_of(each) for each in of_kind(overlay, "ServiceAccount")}


@BY_OVERLAY
def test_rights_in_the_cluster_are_few_and_named(overlay: str) -> None:
    assert of_kind(overlay, "ClusterRole") == of_kind(overlay, "ClusterRoleBinding") == []
    roles = {name_of(role): role["rules"] for role in of_kind(overlay, "Role")}
    for binding in of_kind(overlay, "RoleBinding"):
        assert binding["roleRef"]["name"] in roles
        if overlay == "gke-cluster":
            assert [subject["name"] for subject in binding["subjects"]] == ["trainer"]
        else:
            assert {subject["kind"] for subject in binding["subjects"]} == {"Group"}, "no pod has rights"
    for rule in (each for rules in roles.values() for each in rules):
        assert "*" not in {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
        assert not {"secrets", "roles", "rolebindings", "pods/exec"} & set(rule["resources"])


def test_the_trainers_rights_are_what_its_launcher_asks_for() -> None:
    (role,) = of_kind("gke-cluster", "Role")
    asked = KubernetesJobs(Machine("image"), "tidemill", claim="training", mount="/work")
    made = {"metadata": {"name": "job"}}
    calls = [asked.create("job", Path("/mnt/job")), asked.look(made), asked.remove(made)]

    verbs = {"POST": "create", "GET": "get", "DELETE": "delete"}
    assert role["rules"] == [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": [verbs[call.method] for call in calls]}
    ]
    assert all(call.path.startswith("/apis/batch/v1/namespaces/tidemill/jobs") for call in calls)


def test_jobs_that_the_trainer_makes_have_its_image_and_its_folder() -> None:
    (trainer,) = (each for each in workloads("gke-cluster") if each.name == "trainer")
    (container,) = (each for each in trainer.containers if each["name"] == "trainer")
    environ = {each["name"]: each.get("value", "") for each in container["env"]}
    options = dict(parse_qsl(urlsplit(environ["TIDEMILL_TRAINER_LAUNCHER"]).query))
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in trainer.spec["volumes"]}
    (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == options["mount"])

    open_launcher(environ["TIDEMILL_TRAINER_LAUNCHER"], Path(environ["TIDEMILL_TRAINER_WORK"]))
    assert urlsplit(environ["TIDEMILL_TRAINER_LAUNCHER"]).netloc == "tidemill"
    assert options["image"] == container["image"]
    assert claims[mount["name"]] == {"claimName": options["claim"]}
    assert [name_of(each) for each in of_kind("gke-cluster", "PersistentVolumeClaim")] == [options["claim"]]


@BY_OVERLAY
def test_whoever_is_called_stays_until_no_one_calls_any_more(overlay: str) -> None:
    called = [service["spec"]["selector"] for service in of_kind(overlay, "Service")]
    for workload in workloads(overlay):
        if workload.name not in DRAIN_S or workload.kind not in STANDING:
            continue
        sleeps = [
            container["lifecycle"]["preStop"]["sleep"]["seconds"]
            for container in workload.spec["containers"]
            if "lifecycle" in container
        ]
        if any(matches({"matchLabels": selector}, workload.labels) for selector in called):
            assert len(sleeps) == len(workload.spec["containers"]), workload.name
        grace_s = workload.spec["terminationGracePeriodSeconds"]
        assert grace_s >= max(sleeps, default=0) + DRAIN_S[workload.name] + 5, workload.name


@BY_OVERLAY
def test_an_update_never_takes_a_pod_before_its_successor_is_ready(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment"):
        strategy = deployment["spec"]["strategy"]
        if name_of(deployment) == "trainer":
            assert strategy == {"type": "Recreate"}  # a second one would wait for the first one's lease
        else:
            assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, name_of(deployment)


def scale_of(overlay: str, name: str) -> int:
    """The fewest replicas that a workload ever has."""
    for scaler in of_kind(overlay, "HorizontalPodAutoscaler"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"]["minReplicas"])
    for scaler in of_kind(overlay, "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"]["minReplicaCount"])
    (found,) = (each for each in workloads(overlay) if each.name == name)
    return int(found.object["spec"].get("replicas", 1))


@BY_OVERLAY
def test_a_budget_of_disruptions_leaves_room_to_drain_a_node(overlay: str) -> None:
    for budget in of_kind(overlay, "PodDisruptionBudget"):
        (target,) = (each for each in workloads(overlay) if matches(budget["spec"]["selector"], each.labels))
        assert 0 < budget["spec"]["minAvailable"] < scale_of(overlay, target.name), name_of(budget)


@BY_OVERLAY
def test_what_has_several_replicas_has_a_budget_and_is_spread(overlay: str) -> None:
    budgets = [each["spec"]["selector"] for each in of_kind(overlay, "PodDisruptionBudget")]
    for workload in workloads(overlay):
        if workload.kind not in STANDING or scale_of(overlay, workload.name) < 2:
            continue
        assert any(matches(selector, workload.labels) for selector in budgets), workload.name
        spread = workload.spec["topologySpreadConstraints"]
        assert {each["topologyKey"] for each in spread} == {
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        }
        assert all(matches(each["labelSelector"], workload.labels) for each in spread), workload.name


@BY_OVERLAY
def test_autoscalers_have_one_target_each_that_exists(overlay: str) -> None:
    scalers = of_kind(overlay, "HorizontalPodAutoscaler") + of_kind(overlay, "ScaledObject")
    targets = [
        (scaler["spec"]["scaleTargetRef"]["kind"], scaler["spec"]["scaleTargetRef"]["name"])
        for scaler in scalers
    ]

    assert len(targets) == len(set(targets)), "two autoscalers of one target fight"
    assert set(targets) <= {(each.kind, each.name) for each in workloads(overlay)}
    for scaler in of_kind(overlay, "HorizontalPodAutoscaler"):
        assert scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]


@BY_OVERLAY
def test_replicas_of_serving_that_must_agree_are_as_many_as_always_run(overlay: str) -> None:
    (serving,) = (each for each in workloads(overlay) if each.name == "serving")
    (agent,) = (each for each in serving.containers if each["name"] == "agent")
    environ = {each["name"]: each.get("value") for each in agent["env"]}

    assert int(environ["TIDEMILL_SERVING_REPLICAS"] or 0) == scale_of(overlay, "serving")
    assert serving.object["spec"]["podManagementPolicy"] == "Parallel"


@BY_OVERLAY
def test_scheduled_jobs_end_and_never_run_twice_at_once(overlay: str) -> None:
    for cron in of_kind(overlay, "CronJob"):
        assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    for workload in workloads(overlay):
        if workload.kind in {"Job", "CronJob"}:
            spec = workload.object["spec"]
            job = spec if workload.kind == "Job" else spec["jobTemplate"]["spec"]
            assert job["activeDeadlineSeconds"] > 0, workload.name
            assert job["backoffLimit"] <= 10, workload.name


def test_optional_components_do_what_they_say() -> None:
    before, after = workloads("gke"), workloads("gke-jobs")

    assert "trainer" in {each.name for each in before} - {each.name for each in after}
    assert "train" in {each.name for each in after}
    assert [name_of(each) for each in of_kind("gke-jobs", "ScaledObject")] == ["persistor"]
