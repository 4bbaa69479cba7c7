"""The supervisor keeps real processes running, and ends them all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tidemill.deployment import Deployment, Ports
from tidemill.processes import ProcessSpec, _answers
from tidemill.running import running_platform
from tidemill.supervisor import Supervisor
from tidemill_contracts.errors import Conflict, Unavailable

WAIT_S = 20.0
QUIET = "import signal, time; print('up', flush=True); signal.pause()"


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


class Lines(list[tuple[str, str]]):
    def write(self, name: str, line: str) -> None:
        self.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for owner, line in self if owner == name]


def python(name: str, code: str, ready: Callable[[], bool] = lambda: True, **more: object) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-c", code], ready, **more)  # type: ignore[arg-type]


@contextmanager
def supervised(*specs: ProcessSpec) -> Iterator[tuple[Supervisor, Lines]]:
    lines = Lines()
    supervisor = Supervisor(specs, lines.write)
    supervisor.start()
    try:
        yield supervisor, lines
    finally:
        supervisor.stop()


def test_a_process_that_dies_is_started_again() -> None:
    with supervised(python("a", QUIET)) as (supervisor, lines):
        first = supervisor.pid("a")
        assert first
        os.kill(first, signal.SIGKILL)

        wait_until(lambda: supervisor.pid("a") not in (None, first))
        wait_until(lambda: lines.of("a").count("up") == 2)

        assert supervisor.restarts() == {"a": 1}
        assert any("ended with code -9; starting again" in line for line in lines.of("a"))


def test_others_start_only_when_the_first_is_ready(free_port: int) -> None:
    server = [sys.executable, "-m", "http.server", str(free_port), "--bind", "127.0.0.1"]
    first = ProcessSpec("first", server, _answers(free_port, "/"), first=True)
    probe = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{free_port}/').status)\n{QUIET}"

    with supervised(first, python("second", probe)) as (_, lines):
        wait_until(lambda: "200" in lines.of("second"))


def test_all_stop_in_the_opposite_order_and_none_is_left() -> None:
    polite = (
        "import signal, sys, time\n"
        "def end(*_): print('bye', time.monotonic(), flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(1)"
    )
    lines = Lines()
    supervisor = Supervisor([python("a", polite), python("b", polite)], lines.write)
    supervisor.start()
    wait_until(lambda: "up" in lines.of("a") and "up" in lines.of("b"))
    pids = [supervisor.pid("a"), supervisor.pid("b")]

    supervisor.stop()

    ends = {name: float(lines.of(name)[-1].split()[1]) for name in ("a", "b")}
    assert ends["b"] < ends["a"]
    assert not any(pid and psutil.pid_exists(pid) for pid in pids)


def test_what_never_becomes_ready_is_said_with_its_last_lines() -> None:
    broken = python("broken", "print('no such setting'); raise SystemExit(3)", ready=lambda: False)
    fine = python("fine", QUIET)
    supervisor = Supervisor([fine, broken], Lines().write)

    with pytest.raises(Unavailable, match=r"broken did not become ready(.|\n)*no such setting"):
        supervisor.start()

    assert supervisor.pid("fine") is None


def test_a_taken_port_is_refused_with_a_clear_word(tmp_path: Path) -> None:
    models = Path(__file__).parents[3] / "models"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        deployment = Deployment(tmp_path / "data", models, Ports(ingest=port))

        with (
            pytest.raises(Conflict, match=rf"port {port}, meant for ingest, is taken by .*--port-base"),
            running_platform(deployment, echo=False),
        ):
            pass


def test_a_folder_that_a_platform_runs_on_is_refused(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "data", Path(__file__).parents[3] / "models", Ports())

    with (
        deployment.held(),
        pytest.raises(Conflict, match="runs on"),
        running_platform(deployment, echo=False),
    ):
        pass


def test_a_killed_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from tidemill.processes import ProcessSpec\n"
        "from tidemill.supervisor import Supervisor\n"
        f"spec = ProcessSpec('a', [sys.executable, '-c', {QUIET!r}], lambda: True)\n"
        "s = Supervisor([spec], lambda *_: None); s.start(); print(s.pid('a'), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())

    parent.kill()
    parent.wait()
    parent.stdout.close()

    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")
