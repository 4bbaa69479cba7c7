"""The containers of a compose project, and what may befall them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND_S_MAX = 600
UP_S_MAX = 240


def wait_until(holds: Callable[[], Any], limit_s: float, what: str) -> float:
    """Seconds until it held; fails after `limit_s`."""
    begun_s = time.monotonic()
    while not holds():
        assert time.monotonic() - begun_s < limit_s, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - begun_s


class ComposeProject:
    """`docker compose` under a name of its own, so that nobody's own platform is touched.

    small_volume: a small file system behind the store's volume; None where none could be mounted.
    """

    def __init__(
        self, name: str, files: list[Path], environ: Mapping[str, str], small_volume: Path | None = None
    ) -> None:
        self.name = name
        self.small_volume = small_volume
        self._files = files
        self._environ = {**os.environ, **environ}

    def compose(self, *arguments: str, files: list[Path] | None = None) -> str:
        """Run one command of compose; its output."""
        options = [option for file in [*self._files, *(files or [])] for option in ("--file", str(file))]
        command = ["docker", "compose", "--project-name", self.name, "--ansi", "never", *options, *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
        said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == 0, f"{' '.join(command)}\n{said}{_remedy(done.stderr)}"
        return done.stdout

    def up(self, *services: str, files: list[Path] | None = None, options: tuple[str, ...] = ()) -> None:
        """Start, and wait until everything is healthy."""
        self.compose("up", "--detach", *options, *services, files=files)
        wait_until(lambda: self.unhealthy(*services) == [], UP_S_MAX, f"healthy: {self.unhealthy(*services)}")

    def unhealthy(self, *services: str) -> list[str]:
        """The containers that are neither healthy nor done, as they describe themselves."""
        found = []
        for container in self.containers(*services):
            state = container["State"]
            done = state["Status"] == "exited" and state["ExitCode"] == 0
            if not done and state.get("Health", {}).get("Status", state["Status"]) not in {
                "healthy",
                "running",
            }:
                found.append(f"{container['Name']} {state['Status']}")
        return found

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What the engine knows of the containers, in the order of their numbers."""
        idents = self.compose("ps", "--all", "--quiet", *services).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *idents)) if idents else []
        return sorted(found, key=lambda each: str(each["Name"]))

    def container(self, service: str) -> dict[str, Any]:
        return self.containers(service)[0]

    def port(self, service: str, port: int, index: int = 1) -> str:
        """HOST:PORT under which the host reaches a container's port."""
        return self.compose("port", "--index", str(index), service, str(port)).strip()

    def kill(self, service: str) -> None:
        """SIGKILL to process 1 from outside, as the kernel would: the restart policy must notice.

        `docker kill` would count as a wish of the operator, after which nothing is restarted.
        """
        before = self.container(service)
        if os.geteuid() == 0:
            os.kill(before["State"]["Pid"], signal.SIGKILL)
        else:
            docker("kill", "--signal", "KILL", before["Id"])
            docker("start", before["Id"])
        wait_until(
            lambda: self._started(service) > before["State"]["StartedAt"], 60, f"{service} starts again"
        )

    def _started(self, service: str) -> str:
        return str(self.container(service)["State"]["StartedAt"])

    def network(self, name: str) -> str:
        return f"{self.name}_{name}"

    def disconnect(self, service: str, network: str) -> None:
        docker("network", "disconnect", self.network(network), self.container(service)["Id"])

    def connect(self, service: str, network: str) -> None:
        container = self.container(service)["Id"]
        docker("network", "connect", "--alias", service, self.network(network), container)

    def run_in(self, service: str, *command: str) -> str:
        """A command in a running container; its output."""
        return docker("exec", self.container(service)["Id"], *command)


def docker(*arguments: str) -> str:
    """One command of the engine; its output."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stderr[-3000:]}"
    return done.stdout


def has_engine() -> bool:
    """Whether an engine and compose answer here."""
    try:
        for command in (["docker", "info"], ["docker", "compose", "version"]):
            subprocess.run(command, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _remedy(said: str) -> str:
    if "tensorflow/serving" in said and "EMBEDDED_ENGINE" not in os.environ:
        return "\nTensorFlow Serving's image cannot be had: make containers EMBEDDED_ENGINE=1"
    return ""
