"""One machine's platform: its folder, its ports, and where the command line finds it again."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil
from tidemill_chassis.settings import Environment
from tidemill_contracts.errors import Conflict, NotFound

from tidemill.embedded_redis import Durability

DATA_FOLDER = ".tidemill"
HOST = "127.0.0.1"
_STATE = "platform.json"
_LOCK = "platform.lock"


@dataclass(frozen=True)
class Ports:
    """Where each process listens on loopback."""

    gateway: int = 8501
    ingest: int = 8080
    model_server: int = 8500
    redis: int = 6390
    persistor_health: int = 8091
    trainer_health: int = 8092
    agent_health: int = 8093

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """Consecutive ports from `base` on."""
        return cls(*range(base, base + len(fields(cls))))

    def taken(self) -> Iterator[tuple[str, int, str]]:
        """Every port that somebody listens on already: for what, which, and who."""
        for name, port in asdict(self).items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError:
                    yield name, port, _listener(port)


def _listener(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {process.pid})"
    return "another program"


@dataclass(frozen=True)
class Deployment:
    """A platform in a folder. All of its data lives there and survives a restart.

    models: the folder with the models' YAML files.
    durability: what the bus does before a publisher hears yes, see `embedded_redis`.
    """

    folder: Path
    models: Path
    ports: Ports
    durability: Durability = "durable"

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.ports.gateway}"

    @property
    def ingest_url(self) -> str:
        return f"http://{HOST}:{self.ports.ingest}"

    @property
    def bus_url(self) -> str:
        return f"redis://{HOST}:{self.ports.redis}/0"

    @property
    def store_url(self) -> str:
        return (self.folder / "store").as_uri()

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'registry.sqlite'}"

    @property
    def serving_folder(self) -> Path:
        return self.folder / "serving"

    @property
    def logs_folder(self) -> Path:
        return self.folder / "logs"

    def make_folders(self) -> None:
        """Every folder that the processes expect."""
        for folder in (self.folder, self.folder / "redis", self.serving_folder, self.logs_folder):
            folder.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Let other commands find the platform."""
        state = {"models": str(self.models), "ports": asdict(self.ports)}
        (self.folder / _STATE).write_text(json.dumps(state, indent=2) + "\n")

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder to ourselves.

        Raises:
            Conflict: another platform runs on it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    f"a platform runs on {self.folder} already: stop it, or give another --data folder"
                ) from error
            yield


def find_deployment(folder: Path) -> Deployment:
    """The platform that was last started on a folder.

    Raises:
        NotFound: none ever was.
    """
    try:
        state = json.loads((folder / _STATE).read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"no platform was ever started in {folder}: type `make up` or `tidemill up`"
        ) from error
    return Deployment(folder.absolute(), Path(state["models"]), Ports(**state["ports"]))


@dataclass(frozen=True)
class Addresses:
    """Where a command finds what it needs: the environment first, then the platform's folder."""

    ingest: str
    gateway: str
    bus: str
    store: str
    database: str
    models: str


def find_addresses(folder: Path, environ: Mapping[str, str] = os.environ) -> Addresses:
    """The addresses of the platform in `folder`; the environment goes before.

    The variables are TIDEMILL_INGEST, TIDEMILL_GATEWAY, TIDEMILL_BUS, TIDEMILL_STORE, TIDEMILL_DATABASE,
    TIDEMILL_MODELS.

    Raises:
        NotFound: no platform was started there and the environment does not name everything.
    """
    given = Environment(environ)
    names = tuple(one.name for one in fields(Addresses))
    found = {name: given.text(f"TIDEMILL_{name.upper()}", "") for name in names}
    if not all(found.values()):
        local = find_deployment(folder)
        known = (
            local.ingest_url,
            local.gateway_url,
            local.bus_url,
            local.store_url,
            local.database_url,
            str(local.models),
        )
        found = {name: found[name] or value for name, value in zip(names, known, strict=True)}
    return Addresses(**found)
