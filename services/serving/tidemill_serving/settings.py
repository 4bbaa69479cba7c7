"""Settings of the serving agent, from the environment."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill_chassis.settings import Address, Environment, SettingsError

from tidemill_serving.quorum import REPLICAS_MAX


@dataclass(frozen=True)
class Settings:
    """bus, store: addresses of the engines.

    models: folder of the models' YAML files.
    server: where the model server answers gRPC; `HOST:PORT`, or `unix:PATH`.
    folder: where versions are laid for the server, which reads the same folder.
    poll_s: how often labels are looked at when no event wakes the agent.
    load_s_max: how long a candidate may take to become available before it is refused.
    replicas: how many replicas must have proven a candidate before it becomes stable.
    replica: our name among them, the same after a restart.
    health: address of the health, readiness and metrics endpoint.
    """

    bus: str
    store: str
    models: Path
    server: str
    folder: Path
    poll_s: float
    load_s_max: float
    replicas: int
    replica: str
    health: Address
    log_level: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of an environment.

        Raises:
            SettingsError: a variable is missing or wrong; the text names it and a valid example.
        """
        environment = Environment(environ)
        return cls(
            bus=environment.text("TIDEMILL_BUS", example="redis://127.0.0.1:6379/0"),
            store=environment.text("TIDEMILL_STORE", example="file:///var/lib/tidemill/store"),
            models=environment.path("TIDEMILL_MODELS", "models"),
            server=environment.text("TIDEMILL_SERVING", "127.0.0.1:8500"),
            folder=environment.path("TIDEMILL_SERVING_FOLDER", "/var/lib/tidemill/serving"),
            poll_s=environment.seconds("TIDEMILL_SERVING_POLL_S", 1.0, minimum=0.05, maximum=3600),
            load_s_max=environment.seconds("TIDEMILL_SERVING_LOAD_S_MAX", 900.0, minimum=1, maximum=86400),
            replicas=environment.integer("TIDEMILL_SERVING_REPLICAS", 1, minimum=1, maximum=REPLICAS_MAX),
            replica=_replica(environment),
            health=environment.address("TIDEMILL_SERVING_HEALTH", "127.0.0.1:8511"),
            log_level=environment.text("TIDEMILL_LOG_LEVEL", "info"),
        )


def _replica(environment: Environment) -> str:
    """Our name among replicas: the host's, unless it is told. It becomes part of an object's name."""
    name = "TIDEMILL_SERVING_REPLICA"
    replica = environment.text(name, socket.gethostname())
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", replica):
        raise SettingsError(f"{name} must be a name such as serving-0, not {replica!r}", field=name)
    return replica
