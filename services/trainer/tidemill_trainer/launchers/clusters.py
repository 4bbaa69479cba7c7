"""Training as a job of a cluster: what is asked of its API, and what its answers mean. Nothing is sent here.

A job's container sees the job's folder under the same path as the trainer does: on Kubernetes a claim that
many may mount, on Vertex AI a bucket, which it mounts under `/gcs/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

State = Literal["waiting", "done", "failed"]
MODULE = "tidemill_trainer.launchers.job"


@dataclass(frozen=True)
class ApiCall:
    """A request to a cluster's API. path: behind the API's address."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Machine:
    """What a job runs on. image: the trainer's own."""

    image: str
    cpu: str = "2"
    memory: str = "4Gi"
    seconds_max: int = 24 * 3600


class Cluster(Protocol):
    """One kind of job of one cluster."""

    def create(self, name: str, folder: Path) -> ApiCall:
        """Start the training in the folder. name: lower case, at most 50 characters."""
        ...

    def look(self, created: Mapping[str, Any]) -> ApiCall:
        """Ask how the job is; created: what the API answered when it was."""
        ...

    def state(self, seen: Mapping[str, Any]) -> tuple[State, str]:
        """What the answer to `look` means, and why in words."""
        ...

    def remove(self, created: Mapping[str, Any]) -> ApiCall:
        """End the job if it runs, and forget it."""
        ...


def _command(folder: Path) -> list[str]:
    return ["python", "-m", MODULE, str(folder)]


def _named(call: Literal["GET", "DELETE"], collection: str, created: Mapping[str, Any]) -> ApiCall:
    options = {"propagationPolicy": "Background"} if call == "DELETE" else None
    return ApiCall(call, f"{collection}/{created['metadata']['name']}", options)


def _conditions(seen: Mapping[str, Any]) -> dict[str, str]:
    """The conditions that hold, by type, with their words."""
    found = (seen.get("status") or {}).get("conditions") or []
    return {
        each["type"]: str(each.get("message") or each.get("reason") or each["type"])
        for each in found
        if each["status"] == "True"
    }


def _state(seen: Mapping[str, Any]) -> tuple[State, str]:
    holds = _conditions(seen)
    if "Failed" in holds:
        return "failed", holds["Failed"]
    return ("done", "complete") if "Complete" in holds else ("waiting", "runs")


@dataclass(frozen=True)
class KubernetesJobs:
    """A `batch/v1` Job. claim: of the volume that holds the trainer's scratch folder, mounted at `mount`."""

    machine: Machine
    namespace: str
    claim: str
    mount: str

    @property
    def _collection(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    def create(self, name: str, folder: Path) -> ApiCall:
        resources = {"cpu": self.machine.cpu, "memory": self.machine.memory}
        container = {
            "name": "training",
            "image": self.machine.image,
            "command": _command(folder),
            "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108  (in a container whose root cannot be written)
            "resources": {"requests": resources, "limits": resources},
            "volumeMounts": [
                {"name": "jobs", "mountPath": self.mount},
                {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  (as above)
            ],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [
                {"name": "jobs", "persistentVolumeClaim": {"claimName": self.claim}},
                {"name": "scratch", "emptyDir": {}},
            ],
        }
        labels = {"app.kubernetes.io/name": "tidemill-training"}
        spec = {
            "backoffLimit": 2,
            "activeDeadlineSeconds": self.machine.seconds_max,
            "ttlSecondsAfterFinished": 3600,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        metadata = {"name": name, "namespace": self.namespace, "labels": labels}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
        return ApiCall("POST", self._collection, body)

    def look(self, created: Mapping[str, Any]) -> ApiCall:
        return _named("GET", self._collection, created)

    def state(self, seen: Mapping[str, Any]) -> tuple[State, str]:
        return _state(seen)

    def remove(self, created: Mapping[str, Any]) -> ApiCall:
        return _named("DELETE", self._collection, created)


@dataclass(frozen=True)
class KubeflowTrainJobs:
    """A `trainer.kubeflow.org/v1alpha1` TrainJob. runtime: a TrainingRuntime of the namespace that mounts the
    trainer's scratch folder where the trainer has it."""

    machine: Machine
    namespace: str
    runtime: str

    @property
    def _collection(self) -> str:
        return f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{self.namespace}/trainjobs"

    def create(self, name: str, folder: Path) -> ApiCall:
        resources = {"cpu": self.machine.cpu, "memory": self.machine.memory}
        trainer = {
            "image": self.machine.image,
            "command": _command(folder),
            "numNodes": 1,
            "resourcesPerNode": {"requests": resources, "limits": resources},
        }
        spec = {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "TrainingRuntime",
                "name": self.runtime,
            },
            "activeDeadlineSeconds": self.machine.seconds_max,
            "trainer": trainer,
        }
        metadata = {"name": name, "namespace": self.namespace}
        body = {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": metadata,
            "spec": spec,
        }
        return ApiCall("POST", self._collection, body)

    def look(self, created: Mapping[str, Any]) -> ApiCall:
        return _named("GET", self._collection, created)

    def state(self, seen: Mapping[str, Any]) -> tuple[State, str]:
        return _state(seen)

    def remove(self, created: Mapping[str, Any]) -> ApiCall:
        return _named("DELETE", self._collection, created)


@dataclass(frozen=True)
class VertexCustomJobs:
    """A CustomJob of Vertex AI. parent: `projects/PROJECT/locations/REGION`. machine_type: such as
    `n2-standard-4`; it decides on processors and memory."""

    machine: Machine
    parent: str
    machine_type: str

    def create(self, name: str, folder: Path) -> ApiCall:
        command = _command(folder)
        pool = {
            "machineSpec": {"machineType": self.machine_type},
            "replicaCount": "1",
            "containerSpec": {
                "imageUri": self.machine.image,
                "command": command[:1],
                "args": command[1:],
            },
        }
        job = {"workerPoolSpecs": [pool], "scheduling": {"timeout": f"{self.machine.seconds_max}s"}}
        body = {"displayName": name, "jobSpec": job}
        return ApiCall("POST", f"/v1/{self.parent}/customJobs", body)

    def look(self, created: Mapping[str, Any]) -> ApiCall:
        return ApiCall("GET", f"/v1/{created['name']}")

    def state(self, seen: Mapping[str, Any]) -> tuple[State, str]:
        said = seen.get("state", "JOB_STATE_UNSPECIFIED")
        if said == "JOB_STATE_SUCCEEDED":
            return "done", said
        ended = {"JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}
        why = (seen.get("error") or {}).get("message") or said
        return ("failed", str(why)) if said in ended else ("waiting", said)

    def remove(self, created: Mapping[str, Any]) -> ApiCall:
        return ApiCall("POST", f"/v1/{created['name']}:cancel", {})
