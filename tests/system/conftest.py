"""The whole platform, started as a person starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from tidemill.deployment import Addresses, Deployment, Ports, find_addresses
from tidemill.ingest_client import IngestClient
from tidemill.observation import Observation, Observer
from tidemill.publishing import publish_all
from tidemill.sources.raw_sample import RawSample
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.model_spec import load_specs

ROOT = Path(__file__).parents[2]
PORT_COUNT = 7
START_S_MAX = 120.0
STOP_S_MAX = 60.0
SETTLE_S_MAX = 180.0


def free_port_base() -> int:
    """The first of PORT_COUNT consecutive ports that nobody listens on."""
    for base in range(20_000 + os.getpid() % 5000, 60_000, 10):
        if not list(Ports.from_base(base).taken()):
            with socket.socket():
                return base
    raise AssertionError("no free ports")


class Platform:
    """`make up` on a folder. Start and stop it as often as wanted. options: further ones of `tidemill up`."""

    def __init__(self, folder: Path, models: Path, options: str = "") -> None:
        self.options = options
        self.deployment = Deployment(folder, models, Ports.from_base(free_port_base()))
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def addresses(self) -> Addresses:
        return find_addresses(self.deployment.folder, {})

    def start(self) -> None:
        ports, models = self.deployment.ports, self.deployment.models
        options = f"--port-base {ports.gateway} --models {models} {self.options}"
        self._process = subprocess.Popen(
            ["make", "--no-print-directory", "up", f"DATA={self.deployment.folder}", f"UP_OPTIONS={options}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        self.wait_for(lambda: any("tidemill rounds" in line for line in self.lines), START_S_MAX)

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.lines.append(line.rstrip())

    def stop(self) -> str:
        """Ctrl-C, as a terminal sends it to everybody; return the last line."""
        process, self._process = self._process, None
        if process is None:
            return ""
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(STOP_S_MAX)
        finally:
            _, left = psutil.wait_procs(children, timeout=5)
            for child in left:
                child.kill()
        self._reader.join(5)
        assert not left, f"still running after Ctrl-C: {left}"
        lines, self.lines = self.lines, []
        return next(line for line in reversed(lines) if "make" not in line)

    def service(self, command: str) -> psutil.Process | None:
        """The process that runs a command, if it is up."""
        if self._process is None:
            return None
        for child in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if any(part.endswith(f"/{command}") for part in child.cmdline()):
                    return child
            except psutil.Error:
                continue
        return None

    def kill(self, command: str) -> bool:
        """SIGKILL the service; whether it was up."""
        found = self.service(command)
        if found is None:
            return False
        found.kill()
        return True

    def wait_for(self, holds: Callable[[], bool], limit_s: float = SETTLE_S_MAX) -> None:
        end_s = time.monotonic() + limit_s
        while not holds():
            assert self._process is None or self._process.poll() is None, "\n".join(self.lines[-40:])
            assert time.monotonic() < end_s, "it never came true\n" + "\n".join(self.lines[-40:])
            time.sleep(0.1)

    def publish(self, samples: list[RawSample], *, rate_per_s: float | None = None) -> None:
        with IngestClient(self.deployment.ingest_url) as client:
            for _ in publish_all(client, "digits", samples, rate_per_s=rate_per_s, per_request=50):
                pass

    def observe(self) -> Observation:
        with Observer(self.addresses, load_specs(self.deployment.models)["digits"]) as observer:
            return observer.look()

    def settle(self, sample_count: int) -> Observation:
        """Wait until so many samples are read and nothing is left to do for them."""
        seen: list[Observation] = []

        def settled() -> bool:
            try:
                now = self.observe()
            except Unavailable:
                return False
            seen.append(now)
            read = now.samples.train + now.samples.validation + now.samples.test
            return read >= sample_count and now.is_settled

        self.wait_for(settled)
        return seen[-1]

    def predict(self, image: bytes, path: str = "") -> httpx.Response:
        import base64

        body = {"instances": [{"b64": base64.b64encode(image).decode()}]}
        return httpx.post(
            f"{self.deployment.gateway_url}/v1/models/digits{path}:predict", json=body, timeout=30
        )


@pytest.fixture(scope="session")
def quick_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' model, trained for a moment only: for tests that are about the line, not the accuracy."""
    spec = yaml.safe_load((ROOT / "models" / "digits.yaml").read_text())
    spec["training"] |= {"epochs_max": 2, "augment": False}
    spec["round"] |= {"samples_min": 300, "age_s_max": 3}
    spec["retry"] |= {"every_s": 3600}
    spec["gate"] |= {"gain_min": 0.0}
    folder = tmp_path_factory.mktemp("models")
    (folder / "digits.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture
def platform(tmp_path: Path, quick_models: Path) -> Iterator[Platform]:
    """A platform that runs, with the quick model."""
    made = Platform(tmp_path / "data", quick_models)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def tool() -> str:
    """The installed `tidemill` command."""
    return str(Path(sys.executable).parent / "tidemill")


@pytest.fixture
def port_base() -> int:
    """The first of as many free ports as a platform wants."""
    return free_port_base()
