"""A PostgreSQL server of the torture's own, to kill and to start again."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tidemill_contracts.errors import NotFound

from tidemill.deployment import HOST

PLACES = "/usr/lib/postgresql/*/bin/initdb"
USER = "tidemill"
UNPRIVILEGED = ("postgres", "nobody")
"""PostgreSQL refuses to run as root: then one of these runs it."""
SETTINGS = {"listen_addresses": HOST, "unix_socket_directories": "", "log_min_messages": "panic"}


@dataclass(frozen=True)
class PostgresPlace:
    """A folder with an empty server. command: what runs it, in the foreground."""

    folder: Path
    command: list[str]
    url: str


def make_postgres(port: int) -> PostgresPlace:
    """A server in a folder of its own; whoever asks removes the folder.

    Raises:
        NotFound: PostgreSQL is not installed.
    """
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="tidemill-torture-postgres-"))
    runner = _runner(folder)
    initialise = [str(binaries / "initdb"), "--pgdata", str(folder / "data"), "--username", USER]
    options = ["--auth=trust", "--encoding=UTF8", "--no-sync"]
    subprocess.run([*runner, *initialise, *options], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    command = [*runner, str(binaries / "postgres"), "-D", str(folder / "data"), "-c", f"port={port}"]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return PostgresPlace(folder, command, f"postgresql+psycopg://{USER}@{HOST}:{port}/postgres")


def _binaries() -> Path:
    found = shutil.which("initdb") or next(iter(sorted(glob.glob(PLACES), reverse=True)), None)
    if found is None:
        raise NotFound("no PostgreSQL is installed here: install postgresql, or leave --postgres out")
    return Path(found).resolve().parent


def _runner(folder: Path) -> list[str]:
    """The words before a command that run it as somebody who may run PostgreSQL; the folder is theirs."""
    if os.geteuid() != 0:
        return []
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in UNPRIVILEGED if name in known)
    shutil.chown(folder, entry.pw_uid, entry.pw_gid)
    ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}"]
    return ["setpriv", *ids, "--clear-groups", "--pdeathsig", "QUIT"]
