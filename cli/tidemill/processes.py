"""Which processes make up a platform on one machine, how each starts, and when it is ready."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tidemill.deployment import HOST, Deployment
from tidemill.embedded_redis import server_command

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep running.

    ready: says whether it can do its work; must return within PROBE_TIMEOUT_S.
    ready_s_max: how long its start may take.
    first: the others start only when it is ready.
    """

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_s_max: float = 60.0
    first: bool = False


def platform_processes(deployment: Deployment, log_level: str = "info") -> list[ProcessSpec]:
    """The processes in the order in which they start; they stop in the opposite order."""
    ports = deployment.ports
    shared = {
        "TIDEMILL_BUS": deployment.bus_url,
        "TIDEMILL_STORE": deployment.store_url,
        "TIDEMILL_DATABASE": deployment.database_url,
        "TIDEMILL_MODELS": str(deployment.models),
        "TIDEMILL_SERVING": f"{HOST}:{ports.model_server}",
        "TIDEMILL_LOG_LEVEL": log_level,
        "TIDEMILL_INGEST_BIND": f"{HOST}:{ports.ingest}",
        "TIDEMILL_GATEWAY_BIND": f"{HOST}:{ports.gateway}",
        "TIDEMILL_PERSISTOR_HEALTH": f"{HOST}:{ports.persistor_health}",
        "TIDEMILL_TRAINER_HEALTH": f"{HOST}:{ports.trainer_health}",
        "TIDEMILL_TRAINER_WORK": str(deployment.folder / "work"),
        "TIDEMILL_SERVING_HEALTH": f"{HOST}:{ports.agent_health}",
        "TIDEMILL_SERVING_FOLDER": str(deployment.serving_folder),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }

    def service(name: str, script: str, ready: Callable[[], bool], *arguments: str) -> ProcessSpec:
        return ProcessSpec(name, [_script(script), *arguments], ready, shared)

    server = server_command(deployment.folder / "redis", ports.redis, deployment.durability)
    redis = ProcessSpec("redis", server, _listens(ports.redis), first=True)
    return [
        redis,
        service(
            "model-server",
            "tidemill-model-server",
            _listens(ports.model_server),
            f"--port={ports.model_server}",
            # The server's own defaults would keep a candidate that cannot load waiting for five minutes.
            "--max_num_load_retries=2",
            "--load_retry_interval_micros=500000",
            # A gateway keeps two batches out, each on a core of its own (docs/adr/0063).
            "--tensorflow_intra_op_parallelism=1",
        ),
        service("trainer", "tidemill-trainer", _answers(ports.trainer_health, "/readyz")),
        service("serving", "tidemill-serving-agent", _answers(ports.agent_health, "/readyz")),
        service("persistor", "tidemill-persistor", _answers(ports.persistor_health, "/readyz")),
        service("ingest", "tidemill-ingest", _answers(ports.ingest, "/readyz")),
        # A gateway is ready for predictions only when a model serves, which may be the first round's affair.
        service("gateway", "tidemill-gateway", _answers(ports.gateway, "/healthz")),
    ]


def _script(name: str) -> str:
    """A command of the same installation, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def _listens(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with socket.socket() as probe:
            probe.settimeout(PROBE_TIMEOUT_S)
            return probe.connect_ex((HOST, port)) == 0

    return ready


def _answers(port: int, path: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return httpx.get(f"http://{HOST}:{port}{path}", timeout=PROBE_TIMEOUT_S).status_code == 200
        except httpx.HTTPError:
            return False

    return ready


def inherited_environment() -> dict[str, str]:
    """What a child gets of ours: all but settings of Tidemill, which are the platform's to give."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
