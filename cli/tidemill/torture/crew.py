"""The processes under torture: started, killed, frozen and waited for, one by one."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from tidemill_contracts.errors import Unavailable

from tidemill.deployment import HOST
from tidemill.process_logs import ProcessLogs
from tidemill.processes import ProcessSpec, platform_processes
from tidemill.supervisor import Supervisor
from tidemill.torture.ground import Ground

REDIS = "redis"
POSTGRES = "postgres"
PERSISTOR = "persistor"
SECOND = "second-persistor"
TRAINER = "trainer"
SECOND_TRAINER = "second-trainer"
LEASE_S = 1.0
RECONCILE_S = 2.0
PROBE_S_MAX = 2.0
READY_S_MAX = 90.0
LOOK_EVERY_S = 0.05


class Crew:
    """A broker, a database, up to two persistors and trainers.

    Each is under a supervisor of its own, so that no backoff adds up.
    """

    def __init__(self, ground: Ground, logs: ProcessLogs) -> None:
        self._specs = {spec.name: spec for spec in _specs(ground)}
        self._logs = logs
        self._running: dict[str, Supervisor] = {}

    def start(self, *names: str) -> None:
        """Start these; return once they run, which is before they are ready."""
        for name in names:
            spec = replace(self._specs[name], ready=lambda: True)
            self._running[name] = Supervisor([spec], self._logs.write_line)
            self._running[name].start()

    def kill(self, name: str) -> None:
        """SIGKILL; it stays dead."""
        self._signal(name, signal.SIGKILL)
        self.stop(name)

    def stop(self, *names: str) -> None:
        """SIGTERM, and SIGKILL to what does not listen; of a frozen one too."""
        for name in names:
            self.thaw(name)
            supervisor = self._running.pop(name, None)
            if supervisor is not None:
                supervisor.stop()

    def stop_all(self) -> None:
        order = (SECOND_TRAINER, TRAINER, SECOND, PERSISTOR, POSTGRES, REDIS)
        self.stop(*[name for name in order if name in self._running])

    def freeze(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def pid(self, name: str) -> int | None:
        """Its process id; None while it is down."""
        supervisor = self._running.get(name)
        return supervisor.pid(name) if supervisor else None

    def persistor_pids(self) -> list[int]:
        return [pid for name in (PERSISTOR, SECOND) if (pid := self.pid(name)) is not None]

    def wait_ready(self, names: Iterable[str] = (), *, limit_s: float = READY_S_MAX) -> float:
        """Seconds until these, or all that run, are ready.

        Raises:
            Unavailable: one was not within `limit_s`.
        """
        begun_s = time.monotonic()
        for name in list(names) or list(self._running):
            while not (self.pid(name) and self._specs[name].ready()):
                if time.monotonic() - begun_s > limit_s:
                    raise Unavailable(f"{name} was not ready again after {limit_s:.0f} s")
                time.sleep(LOOK_EVERY_S)
        return time.monotonic() - begun_s

    def _signal(self, name: str, number: int) -> None:
        pid = self.pid(name)
        if pid is not None:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(pid, number)


def _specs(ground: Ground) -> Iterator[ProcessSpec]:
    """The platform's own, with small batches and short leases: more can go wrong in the same time."""
    deployment = ground.deployment
    ports = deployment.ports
    known = {spec.name: spec for spec in platform_processes(deployment)}
    yield known[REDIS]
    if ground.own_postgres:
        command, port = ground.own_postgres.command, ports.model_server
        yield ProcessSpec(POSTGRES, command, partial(_listens, port))
    addresses = {"TIDEMILL_BUS": ground.bus_url, "TIDEMILL_STORE": ground.store_url}
    hasty = {
        **addresses,
        "TIDEMILL_PERSISTOR_BATCH_AGE_S": "0.2",
        "TIDEMILL_PERSISTOR_BATCH_MESSAGES": "40",
        "TIDEMILL_PERSISTOR_LEASE_S": str(LEASE_S),
    }
    learning = {
        **addresses,
        "TIDEMILL_DATABASE": ground.database_url,
        "TIDEMILL_MODELS": str(deployment.models),
        "TIDEMILL_TRAINER_LEASE_S": str(LEASE_S),
        "TIDEMILL_TRAINER_RECONCILE_S": str(RECONCILE_S),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ground.kinds), ground.environ.get("PYTHONPATH")))),
    }
    yield from _pair(known[PERSISTOR], hasty, SECOND, "TIDEMILL_PERSISTOR_HEALTH", ports.gateway)
    yield from _pair(known[TRAINER], learning, SECOND_TRAINER, "TIDEMILL_TRAINER_HEALTH", ports.ingest)


def _pair(
    spec: ProcessSpec, hasty: Mapping[str, str], second: str, health: str, port: int
) -> Iterator[ProcessSpec]:
    """The process, and another like it with a name, a folder and a port of its own."""
    environment = {**spec.environment, **hasty}
    yield replace(spec, environment=environment)
    work = {"TIDEMILL_TRAINER_WORK": f"{environment['TIDEMILL_TRAINER_WORK']}-{second}"}
    own = {**environment, **work, health: f"{HOST}:{port}"}
    yield ProcessSpec(second, spec.command, partial(_answers, port), own, spec.ready_s_max)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PROBE_S_MAX)
        return probe.connect_ex((HOST, port)) == 0


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=PROBE_S_MAX) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
