"""Variables have the same names everywhere: code, READMEs, images, compose, Kubernetes, Cloud Run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import tidemill_gateway.settings
import tidemill_ingest.settings
import tidemill_persistor.settings
import tidemill_serving.settings
import tidemill_trainer.settings
import yaml
from tidemill_chassis.settings import SettingsError

from tests.unit.deployment.manifests import (
    OVERLAYS,
    ROOT,
    SERVICES,
    Object,
    cloud_run,
    containers,
    of_kind,
    service_of_image,
)

READ: dict[str, Callable[[Mapping[str, str]], Any]] = {
    "ingest": tidemill_ingest.settings.Settings.from_env,
    "persistor": tidemill_persistor.settings.Settings.from_env,
    "trainer": tidemill_trainer.settings.from_env,
    "serving": tidemill_serving.settings.Settings.from_env,
    "gateway": tidemill_gateway.settings.Settings.from_env,
}
ADDRESSES = {
    "TIDEMILL_BUS": "memory://",
    "TIDEMILL_STORE": "memory://",
    "TIDEMILL_DATABASE": "sqlite://",
    "TIDEMILL_SERVING": "127.0.0.1:8500",
}
SWITCHES = {
    "TIDEMILL_PERSISTOR_PUSH_BIND": "127.0.0.1:1",
    "TIDEMILL_TRAINER_PUSH_BIND": "127.0.0.1:1",
    "TIDEMILL_PUSH_AUDIENCE": "a",
    "TIDEMILL_PUSH_ACCOUNT": "a",
    "TIDEMILL_GATEWAY_TLS_CERTIFICATE": __file__,
    "TIDEMILL_GATEWAY_TLS_KEY": __file__,
}
"""Variables that make others be asked for."""
OF_COMMANDS = {
    "TIDEMILL_INGEST",
    "TIDEMILL_GATEWAY",
    "TIDEMILL_CACHE",
    "TIDEMILL_MODELS",
    "TIDEMILL_LOG_LEVEL",
} | set(ADDRESSES)
OF_OTHERS = re.compile(r"(PUBSUB_EMULATOR_HOST|STORAGE_EMULATOR_HOST)")
"""Read by Google's libraries; everything else without our prefix is the images' own affair."""


class Asked(dict[str, str]):
    """An environment that notes which names it is asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


@cache
def known(service: str) -> frozenset[str]:
    """The variables that a service's settings ask for."""
    names: set[str] = set()
    for given in (ADDRESSES, {**ADDRESSES, **SWITCHES}):
        environ = Asked(given)
        READ[service](environ)
        names |= environ.names
    return frozenset(names)


def told(service: str) -> set[str]:
    """The variables of the settings table in a README; `_X` is short for the service's own prefix."""
    text = (ROOT / "services" / service / "README.md").read_text()
    names = set()
    for row in re.findall(r"^\| (`TIDEMILL_[^|]+) \|", text, re.MULTILINE):
        for name in re.findall(r"`([A-Z_0-9]+)`", row):
            names.add(f"TIDEMILL_{service.upper()}{name}" if name.startswith("_") else name)
    return names


@pytest.mark.parametrize("service", SERVICES)
def test_the_table_of_settings_is_what_the_code_reads(service: str) -> None:
    assert told(service) == known(service)


def environ_of(overlay: str, container: Object) -> dict[str, str]:
    """A container's environment, with a stand-in for what the cluster fills in."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(overlay, "ConfigMap")}
    environ: dict[str, str] = {}
    for source in container.get("envFrom", []):
        environ |= maps[source["configMapRef"]["name"]]
    environ |= {each["name"]: each.get("value", "from-the-cluster") for each in container.get("env", [])}
    return environ


def image_environ(service: str) -> dict[str, str]:
    """What a service's image sets."""
    folder = ROOT / "cli" if service == "cli" else ROOT / "services" / service
    text = (folder / "Dockerfile").read_text().replace("\\\n", " ")
    last = text[text.rindex("\nFROM ") :]
    return dict(re.findall(r"\b(TIDEMILL_\w+)=(\S+)", last))


def given() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Where, which service, and the environment that it gets there."""
    for overlay in OVERLAYS:
        for workload, container in containers(overlay):
            service = service_of_image(container["image"])
            if service in {*SERVICES, "cli"} and container["name"] != "model-server":
                yield f"{overlay}/{workload.name}", str(service), environ_of(overlay, container)
    for name, each in cloud_run().items():
        for container in each["spec"]["template"]["spec"]["containers"]:
            if container["name"] != "model-server":
                service = service_of_image(container["image"])
                yield f"cloudrun/{name}", str(service), environ_of("gke", container)
    for name, each in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items():
        own = service_of_image(filled(each.get("image", "")))
        if own in {*SERVICES, "cli"} and name != "model-server":
            environ = {key: filled(str(value)) for key, value in each["environment"].items()}
            yield f"compose/{name}", str(own), environ


def filled(value: str) -> str:
    """A value of compose with its defaults put in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_nobody_is_given_a_variable_that_it_does_not_know() -> None:
    wrong = {
        (where, name)
        for where, service, environ in given()
        for name in environ
        if not OF_OTHERS.fullmatch(name)
        and name.startswith("TIDEMILL_")
        and name not in (OF_COMMANDS if service == "cli" else known(service))
    }

    assert wrong == set()


def test_images_set_no_variable_that_their_service_does_not_know() -> None:
    for service in (*SERVICES, "cli"):
        assert set(image_environ(service)) <= (OF_COMMANDS if service == "cli" else known(service)), service


def test_every_environment_is_one_that_its_service_starts_with() -> None:
    checked = set()
    for where, service, environ in given():
        if service != "cli":
            READ[service]({**image_environ(service), **environ})
            checked.add(where.split("/")[0])

    assert checked == {*OVERLAYS, "cloudrun", "compose"}


def test_an_environment_that_lacks_a_variable_is_found() -> None:
    with pytest.raises(SettingsError, match="TIDEMILL_DATABASE"):
        READ["trainer"]({"TIDEMILL_BUS": "memory://", "TIDEMILL_STORE": "memory://"})


def test_compose_and_kubernetes_open_the_same_doors() -> None:
    """Binding addresses are the same in images, compose and Kubernetes, and are the ports that pods open."""
    for overlay in OVERLAYS:
        for workload, container in containers(overlay):
            service = service_of_image(container["image"])
            if service not in SERVICES or container["name"] == "model-server" or workload.kind == "CronJob":
                continue
            environ = environ_of(overlay, container)
            doors = {name: value for name, value in environ.items() if name.endswith(("_BIND", "_HEALTH"))}
            opened = {port["containerPort"] for port in container["ports"]}
            assert {int(value.rpartition(":")[2]) for value in doors.values()} == opened, workload.name
            assert all(value.startswith("0.0.0.0:") for value in doors.values()), workload.name
            for name, value in image_environ(str(service)).items():
                if name in doors:
                    assert doors[name] == value, (workload.name, name)
