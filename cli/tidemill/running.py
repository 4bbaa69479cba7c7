"""A platform that runs as long as a context is open."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.errors import Conflict
from tidemill_contracts.model_spec import load_specs

from tidemill.deployment import Deployment
from tidemill.process_logs import ProcessLogs
from tidemill.processes import platform_processes
from tidemill.supervisor import Supervisor


@contextmanager
def running_platform(
    deployment: Deployment,
    *,
    echo: bool,
    log_level: str = "info",
    left_out: Collection[str] = (),
    stop: Stop | None = None,
) -> Iterator[Supervisor]:
    """Start the platform, hand out its supervisor, stop everything at the end.

    left_out: names of processes that somebody else sees to.

    Raises:
        Conflict: a port is taken, or another platform runs on the folder.
        InvalidInput: a model's YAML is wrong.
        Unavailable: a process did not become ready.
    """
    load_specs(deployment.models)  # say what is wrong with a model before anything starts
    with deployment.held():
        for name, port, who in deployment.ports.taken():
            raise Conflict(
                f"port {port}, meant for {name.replace('_', ' ')}, is taken by {who}: "
                f"stop that, or start with `tidemill up --port-base 9500`"
            )
        deployment.make_folders()
        logs = ProcessLogs(deployment.logs_folder, echo=echo)
        processes = [each for each in platform_processes(deployment, log_level) if each.name not in left_out]
        supervisor = Supervisor(processes, logs.write_line)
        try:
            deployment.save()
            supervisor.start(stop)
            yield supervisor
        finally:
            supervisor.stop()
            logs.close()
