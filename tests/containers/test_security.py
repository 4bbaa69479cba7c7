"""What a container may do, what an image holds, which doors are open."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.containers.compose_project import ComposeProject, docker, wait_until
from tests.containers.outside import MODEL, Digit, Outside

OPEN = {"pubsub": {8085}, "storage": {9000}, "postgres": {5432}, "redis": {6379}, "ingest": {8080}}
OPEN |= {"gateway": {8501, 8502}}
CHUNK_BYTES = 2**20
OURS = ("ingest", "persistor", "trainer", "serving", "gateway", "cli", "storage-emulator")


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_no_container_may_more_than_it_must(project: ComposeProject) -> None:
    for container in project.containers():
        host, name = container["HostConfig"], container["Name"]
        assert container["Config"]["User"].split(":")[0] not in ("", "0", "root"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["NanoCpus"] > 0, name


def test_the_kernel_sees_it_the_same_way(project: ComposeProject) -> None:
    for container in project.containers():
        if container["State"]["Status"] != "running":
            continue
        status = docker("exec", container["Id"], "cat", "/proc/1/status")
        facts = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines()}
        assert "0" not in facts["Uid"], container["Name"]
        assert int(facts["CapEff"][0], 16) == 0, container["Name"]
        assert int(facts["CapBnd"][0], 16) == 0, container["Name"]
        assert facts["NoNewPrivs"] == ["1"], container["Name"]
        assert writes(container, "/tmp/probe"), container["Name"]
        assert not writes(container, "/probe"), container["Name"]
        assert not writes(container, "/etc/probe"), container["Name"]


def writes(container: dict[str, Any], path: str) -> bool:
    command = ["docker", "exec", container["Id"], "sh", "-c", f"echo x > {path}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_only_the_doors_that_are_meant_are_open_and_only_to_this_machine(project: ComposeProject) -> None:
    for container in project.containers():
        bindings = {port: found for port, found in container["NetworkSettings"]["Ports"].items() if found}
        ports = {int(port.split("/")[0]) for port in bindings}
        running = container["State"]["Status"] == "running"
        assert ports == (OPEN.get(service_of(container), set()) if running else set()), container["Name"]
        assert {one["HostIp"] for found in bindings.values() for one in found} <= {"127.0.0.1"}


def test_no_secret_is_in_any_environment_command_or_label(
    project: ComposeProject, secrets: dict[str, str]
) -> None:
    told = json.dumps(project.containers())
    for container in project.containers():
        # PostgreSQL's own start script hands the password to its process; nothing else may hold one.
        ours = container["Config"]["Image"].startswith("tidemill/")
        if ours and container["State"]["Status"] == "running":
            told += docker("exec", container["Id"], "sh", "-c", "tr '\\0' '\\n' < /proc/1/environ")

    for name, value in secrets.items():
        assert value not in told, name


def test_no_secret_is_in_any_log(project: ComposeProject, trained: Outside, secrets: dict[str, str]) -> None:
    logs = project.compose("logs", "--no-color")

    assert len(logs) > 1000
    for name, value in secrets.items():
        assert value not in logs, name


@pytest.mark.parametrize("image", OURS)
def test_no_secret_is_in_any_layer(image: str, project: ComposeProject, secrets: dict[str, str]) -> None:
    """The whole image as it would be pushed, layers that later ones hide included."""
    wanted = [value.encode() for value in secrets.values()]
    command = ["docker", "save", f"tidemill/{image}:dev"]
    tail, size_bytes = b"", 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        while chunk := saving.stdout.read(CHUNK_BYTES):
            size_bytes += len(chunk)
            assert not [value for value in wanted if value in tail + chunk]
            tail = chunk[-100:]
    assert saving.returncode == 0
    assert size_bytes > 100 * CHUNK_BYTES


@pytest.mark.parametrize("image", OURS)
def test_images_hold_no_compiler_no_tests_no_caches(image: str, project: ComposeProject) -> None:
    # The storage emulator's own package is called tests: it is what that image is made for.
    tests = "! -path /opt/app/tests" if image == "storage-emulator" else ""
    look = (
        "for tool in gcc cc ld make git curl; do command -v $tool; done; "
        "find /opt/app -name 'test_*'; "
        f"find /opt -type d -name tests ! -path '*/numpy/_core/tests' {tests}; "
        "find / -xdev -name '.secrets' 2>/dev/null; "
        "ls -A ~root/.cache 2>/dev/null; ls -d /src 2>/dev/null; true"
    )

    found = docker("run", "--rm", "--entrypoint", "sh", f"tidemill/{image}:dev", "-c", look)

    assert found.strip() == ""


@pytest.fixture
def locked_gateway(project: ComposeProject) -> Iterator[str]:
    """A second gateway that lets nobody in without a key."""
    name = f"{project.name}-locked"
    project.compose(
        "run", "--detach", "--no-deps", "--name", name, "--publish", "127.0.0.1::8501",
        "--env", "TIDEMILL_GATEWAY_KEYS=/run/secrets/gateway_keys", "gateway",
    )  # fmt: skip
    try:
        address = docker("port", name, "8501").split()[0]
        wait_until(lambda: _answers(address), 60, "the locked gateway answers")
        yield f"http://{address}/v1/models/{MODEL}"
    finally:
        docker("rm", "--force", name)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_gateway_with_keys_lets_in_only_those_who_show_one(
    trained: Outside, locked_gateway: str, digits: list[Digit], secrets: dict[str, str]
) -> None:
    body = {"instances": [{"b64": digits[0].b64}]}

    def status(verb: str, key: str, content: dict[str, Any] = body) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.post(f"{locked_gateway}:{verb}", json=content, headers=headers, timeout=15).status_code

    assert status("predict", "") == 401
    assert status("predict", "guessed") == 401
    assert status("predict", secrets["predict_key"]) == 200
    assert status("rollback", secrets["predict_key"], {"reason": "may I?"}) == 403


@pytest.fixture
def locked_ingest(project: ComposeProject) -> Iterator[str]:
    """A second ingest that takes nothing without a key."""
    name = f"{project.name}-locked-ingest"
    project.compose(
        "run", "--detach", "--no-deps", "--name", name, "--publish", "127.0.0.1::8080",
        "--env", "TIDEMILL_INGEST_KEYS=/run/secrets/ingest_keys", "ingest",
    )  # fmt: skip
    try:
        address = docker("port", name, "8080").split()[-1]
        wait_until(lambda: _answers(address), 60, "the locked ingest answers")
        yield f"http://{address}/v1/samples"
    finally:
        docker("rm", "--force", name)


def test_an_ingest_with_keys_takes_only_from_those_who_show_one(
    locked_ingest: str, digits: list[Digit], secrets: dict[str, str]
) -> None:
    sample = {"id": "locked-1", "label": digits[0].label, "image": digits[0].b64}
    body = {"dataset": MODEL, "samples": [sample]}

    def status(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.post(locked_ingest, json=body, headers=headers, timeout=15).status_code

    assert status("") == 401
    assert status("guessed") == 401
    assert status(secrets["publish_key"]) == 202
