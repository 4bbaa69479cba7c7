"""What a cluster's API is asked for fits its recorded schema, and its answers are understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from tidemill_trainer.launchers.clusters import (
    Cluster,
    KubeflowTrainJobs,
    KubernetesJobs,
    Machine,
    VertexCustomJobs,
)

RECORDED = Path(__file__).parent / "recorded"
MACHINE = Machine("registry.example/tidemill/trainer:1", seconds_max=3600)
FOLDER = Path("/mnt/jobs/job-1")
KUBERNETES = KubernetesJobs(MACHINE, "tidemill", claim="trainer-work", mount="/mnt/jobs")
KUBEFLOW = KubeflowTrainJobs(MACHINE, "tidemill", runtime="tidemill")
VERTEX = VertexCustomJobs(MACHINE, "projects/p/locations/europe-west1", "n2-standard-4")


def _recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / name).read_text())
    return found


def _body(cluster: Cluster) -> dict[str, Any]:
    call = cluster.create("reviews-1", FOLDER)
    assert call.method == "POST"
    return json.loads(json.dumps(call.body))


def test_the_kubernetes_job_fits_its_schema() -> None:
    body = _body(KUBERNETES)

    kubernetes_validate.validate(body, "1.32", strict=True)
    assert KUBERNETES.create("reviews-1", FOLDER).path == "/apis/batch/v1/namespaces/tidemill/jobs"


@pytest.mark.parametrize(
    ("cluster", "schema"),
    [(KUBEFLOW, "kubeflow_train_job.json"), (VERTEX, "vertex_custom_job.json")],
)
def test_the_job_fits_its_recorded_schema_and_a_typing_error_would_not(cluster: Cluster, schema: str) -> None:
    body = _body(cluster)

    jsonschema.validate(body, _recorded(schema))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**body, "specc": {}}, _recorded(schema))


def test_the_calls_of_vertex_are_those_of_its_discovery_document() -> None:
    methods = _recorded("vertex_custom_job.json")["methods"]
    created = {"name": "projects/1/locations/europe-west1/customJobs/2"}

    def path(method: str, **names: str) -> str:
        found = "/" + methods[method]["path"]
        for name, value in names.items():
            found = found.replace(f"{{+{name}}}", value)
        return found

    assert VERTEX.create("a", FOLDER).path == path("create", parent=VERTEX.parent)
    assert VERTEX.look(created).path == path("get", name=created["name"])
    assert VERTEX.remove(created).path == path("cancel", name=created["name"])


@pytest.mark.parametrize("cluster", [KUBERNETES, KUBEFLOW, VERTEX])
def test_every_job_runs_the_training_of_its_folder_in_the_trainers_image(cluster: Cluster) -> None:
    text = json.dumps(_body(cluster))

    assert MACHINE.image in text
    assert '"tidemill_trainer.launchers.job"' in text
    assert f'"{FOLDER}"' in text


@pytest.mark.parametrize(
    ("cluster", "seen", "state"),
    [
        (KUBERNETES, {}, "waiting"),
        (KUBERNETES, {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, "done"),
        (KUBERNETES, {"status": {"conditions": [{"type": "Failed", "status": "False"}]}}, "waiting"),
        (
            KUBEFLOW,
            {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "killed"}]}},
            "failed",
        ),
        (VERTEX, {"state": "JOB_STATE_RUNNING"}, "waiting"),
        (VERTEX, {"state": "JOB_STATE_SUCCEEDED"}, "done"),
        (VERTEX, {"state": "JOB_STATE_FAILED", "error": {"code": 9, "message": "killed"}}, "failed"),
    ],
)
def test_answers_are_understood(cluster: Cluster, seen: dict[str, Any], state: str) -> None:
    found, why = cluster.state(seen)

    assert found == state
    assert found != "failed" or why == "killed"
