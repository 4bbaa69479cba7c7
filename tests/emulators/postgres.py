"""A real PostgreSQL server, started once a run."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.emulators.machine import find_program, free_port, listens, missing, wait_until

PROGRAM_VARIABLE = "TIDEMILL_INITDB"
USER = "tidemill"
UNPRIVILEGED = ("postgres", "nobody")


class PostgresServer:
    """A server in a folder of its own, on loopback; stop it and start it again."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="tidemill-postgres-"))
        self._port = free_port()
        self._owner = _owner()
        self._process: subprocess.Popen[bytes] | None = None
        if "user" in self._owner:
            shutil.chown(self._folder, self._owner["user"], self._owner["group"])
        initialise = [str(binaries / "initdb"), "--pgdata", str(self._folder / "data"), "--username", USER]
        subprocess.run(
            [*initialise, "--auth=trust", "--encoding=UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **self._owner,
        )

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "fsync": "off",  # the tests ask what it answers, not what it survives
            "log_min_messages": "panic",
        }
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder, **self._owner
        )
        wait_until(lambda: listens(self._port))
        wait_until(lambda: self._runs_sql("SELECT 1"))

    def make_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{uuid4().hex[:12]}"
        assert self._runs_sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def _runs_sql(self, statement: str) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once; what was committed is kept."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: PostgreSQL's immediate shutdown
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)


def _owner() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then somebody else runs it."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in UNPRIVILEGED if name in known)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _binaries() -> Path:
    places = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    found = find_program("initdb", variable=PROGRAM_VARIABLE, places=tuple(places))
    if found is None:
        missing("PostgreSQL", f"install postgresql, or set {PROGRAM_VARIABLE} to its initdb")
    return Path(found).resolve().parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that the whole run shares."""
    server = PostgresServer(_binaries())
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server of the test's own, to stop and start."""
    server = PostgresServer(_binaries())
    server.start()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty database."""
    return postgres_server.make_database()
