"""The Knative services of k8s/cloudrun: no schema describes them, so what can be wrong is checked by hand."""

from __future__ import annotations

import json
import re

import pytest

from tests.unit.deployment.manifests import K8S, Object, cloud_run, service_of_image

SERVICES = ("gateway", "ingest", "persistor", "trainer")
PUSHED = ("persistor", "trainer")
PUSH_WAIT_S = 60


def template(name: str) -> Object:
    return dict(cloud_run()[name]["spec"]["template"])


def environ(name: str, container: int = 0) -> dict[str, str]:
    variables = template(name)["spec"]["containers"][container].get("env", [])
    return {each["name"]: each.get("value", "") for each in variables}


def test_there_is_a_service_for_each_that_can_run_there() -> None:
    assert tuple(cloud_run()) == SERVICES
    assert {each["metadata"]["name"] for each in cloud_run().values()} == {
        f"tidemill-{one}" for one in SERVICES
    }


@pytest.mark.parametrize("name", SERVICES)
def test_one_container_takes_requests_where_its_service_listens(name: str) -> None:
    containers = template(name)["spec"]["containers"]
    taking = [each for each in containers if "ports" in each]

    assert len(taking) == 1
    assert taking[0] is containers[0]
    port = taking[0]["ports"][0]["containerPort"]
    binds = [value for key, value in environ(name).items() if key.endswith("_BIND")]
    assert binds == [f"0.0.0.0:{port}"]
    assert taking[0]["startupProbe"]["httpGet"]["port"] == port


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_limited_probed_and_pinned(name: str) -> None:
    spec = template(name)["spec"]
    assert spec["serviceAccountName"] == f"tidemill-{name}@my-project.iam.gserviceaccount.com"
    assert 0 < spec["containerConcurrency"] <= 1000
    volumes = {each["name"] for each in spec.get("volumes", [])}
    for container in spec["containers"]:
        assert {"cpu", "memory"} == set(container["resources"]["limits"])
        assert re.search(r":\d+\.\d+\.\d+$", container["image"])
        assert service_of_image(container["image"]) is not None
        assert "startupProbe" in container
        assert {each["name"] for each in container.get("volumeMounts", [])} <= volumes


@pytest.mark.parametrize("name", PUSHED)
def test_whoever_is_pushed_to_verifies_tokens_itself(name: str) -> None:
    annotations = cloud_run()[name]["metadata"]["annotations"]

    assert annotations["run.googleapis.com/ingress"] == "internal"
    # Cloud Run's own check takes the signature off the token that it hands on.
    assert annotations["run.googleapis.com/invoker-iam-disabled"] == "true"
    assert environ(name)["TIDEMILL_PUSH_AUDIENCE"] == f"https://tidemill-{name}/push"
    assert environ(name)["TIDEMILL_PUSH_ACCOUNT"].startswith("tidemill-push@")


def test_each_service_has_an_audience_of_its_own() -> None:
    assert len({environ(name)["TIDEMILL_PUSH_AUDIENCE"] for name in PUSHED}) == len(PUSHED)


def test_a_request_may_wait_longer_than_its_message() -> None:
    assert template("persistor")["spec"]["timeoutSeconds"] > PUSH_WAIT_S
    readme = (K8S / "cloudrun" / "README.md").read_text()
    (deadline_s,) = re.findall(r"--ack-deadline=(\d+)", readme)
    assert int(deadline_s) > template("persistor")["spec"]["timeoutSeconds"]


def test_whoever_works_between_requests_keeps_its_processor() -> None:
    for name in ("trainer", "gateway"):
        annotations = template(name)["metadata"]["annotations"]
        assert annotations["run.googleapis.com/cpu-throttling"] == "false", name
    assert environ("ingest")["TIDEMILL_INGEST_INBOX_POLL_S"] == "0"


def test_the_gateways_neighbours_start_before_it() -> None:
    spec = template("gateway")
    names = {each["name"] for each in spec["spec"]["containers"]}
    order = json.loads(spec["metadata"]["annotations"]["run.googleapis.com/container-dependencies"])

    assert {*order, *(name for each in order.values() for name in each)} == names
    assert "model-server" in order["gateway"]
