"""An address chooses where rounds train.

`here`                                                        in the trainer's process
`process://?workers=2&memory_bytes=…&cpu_s=…&wall_s=…`        in processes of their own on this machine
`kubernetes://NAMESPACE?image=…&claim=…&mount=…`              as a Job
`kubeflow://NAMESPACE?image=…&runtime=…`                      as a TrainJob
`vertex://PROJECT/REGION?image=…&machine_type=…`              as a custom job
The last three also take `cpu`, `memory` and `seconds_max`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tidemill_contracts.errors import InvalidInput

from tidemill_trainer.launchers import api
from tidemill_trainer.launchers.cluster_launcher import ClusterLauncher
from tidemill_trainer.launchers.clusters import KubeflowTrainJobs, KubernetesJobs, Machine, VertexCustomJobs
from tidemill_trainer.launchers.launcher import InProcess, Launcher
from tidemill_trainer.launchers.local_process import Limits, LocalProcess

HERE = "here"
VARIABLE = "TIDEMILL_TRAINER_LAUNCHER"
WORKERS_MAX = 64


def open_launcher(address: str, work: Path) -> Launcher:
    """The launcher of an address. work: the folder where jobs lie while they run.

    Raises:
        InvalidInput: the address is none of those above.
    """
    if address == HERE:
        return InProcess()
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    try:
        made = _MAKERS[parts.scheme](parts.netloc, parts.path.strip("/"), options, work)
    except KeyError as error:
        said = f"{VARIABLE}: {address} lacks {error}" if parts.scheme in _MAKERS else f"{VARIABLE}: {address}"
        raise InvalidInput(f"{said}; valid examples: here, process://?workers=2") from error
    except ValueError as error:
        raise InvalidInput(f"{VARIABLE}: {address}: {error}") from error
    if options:
        raise InvalidInput(f"{VARIABLE}: {address} knows no {', '.join(sorted(options))}")
    return made


def _process(host: str, path: str, options: dict[str, str], work: Path) -> Launcher:
    workers = _whole(options, "workers") or 1
    if workers > WORKERS_MAX:
        raise ValueError(f"at most {WORKERS_MAX} workers")
    wall_s = _whole(options, "wall_s")
    limits = Limits(_whole(options, "memory_bytes"), _whole(options, "cpu_s"), float(wall_s or Limits.wall_s))
    return LocalProcess(work, limits, workers=workers)


def _kubernetes(host: str, path: str, options: dict[str, str], work: Path) -> Launcher:
    machine = _machine(options)
    jobs = KubernetesJobs(machine, host, claim=options.pop("claim"), mount=options.pop("mount"))
    if not work.is_relative_to(jobs.mount):
        raise ValueError(f"TIDEMILL_TRAINER_WORK {work} is not on the volume at {jobs.mount}")
    return ClusterLauncher(jobs, api.of_kubernetes().send, work)


def _kubeflow(host: str, path: str, options: dict[str, str], work: Path) -> Launcher:
    jobs = KubeflowTrainJobs(_machine(options), host, runtime=options.pop("runtime"))
    return ClusterLauncher(jobs, api.of_kubernetes().send, work)


def _vertex(host: str, path: str, options: dict[str, str], work: Path) -> Launcher:
    if not host or not path:
        raise ValueError("say vertex://PROJECT/REGION")
    if not work.is_relative_to("/gcs"):
        raise ValueError(f"TIDEMILL_TRAINER_WORK {work} is not in a bucket mounted under /gcs/")
    machine = _machine(options)
    parent = f"projects/{host}/locations/{path}"
    jobs = VertexCustomJobs(machine, parent, options.pop("machine_type"))
    return ClusterLauncher(jobs, api.of_vertex(path).send, work)


_MAKERS: dict[str, Callable[[str, str, dict[str, str], Path], Launcher]] = {
    "process": _process,
    "kubernetes": _kubernetes,
    "kubeflow": _kubeflow,
    "vertex": _vertex,
}


def _machine(options: dict[str, str]) -> Machine:
    default = Machine(options.pop("image"))
    seconds_max = _whole(options, "seconds_max") or default.seconds_max
    cpu, memory = options.pop("cpu", default.cpu), options.pop("memory", default.memory)
    return Machine(default.image, cpu, memory, seconds_max)


def _whole(options: dict[str, str], name: str) -> int | None:
    text = options.pop(name, None)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} is a whole number from 1 on, not {text!r}")
    return int(text)
