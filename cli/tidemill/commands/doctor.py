"""tidemill doctor: what is missing, and what to type."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import psutil
from tidemill_contracts.errors import NotFound, TidemillError
from tidemill_contracts.model_spec import load_specs

from tidemill.deployment import Deployment, Ports, find_deployment
from tidemill.embedded_redis import server_binary

PYTHON_MIN = (3, 11)
DISK_FREE_MIN_BYTES = 2 * 10**9
MEMORY_MIN_BYTES = 3 * 10**9
PACKAGES = ("tensorflow_cpu", "tensorflow_serving_api", "keras", "grpcio", "flask", "gunicorn", "mlxtend")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. remedy: what to type when it is not well."""

    well: bool
    what: str
    remedy: str = ""


@click.command(epilog="Example: tidemill doctor")
@click.option("--models", type=click.Path(path_type=Path), default="models", show_default=True)
@click.pass_obj
def doctor(data: Path, models: Path) -> None:
    """Look at this machine and the platform on it; say what is missing and what to type.

    Exits with 1 if anything is not well.
    """
    findings = list(examine(data, models))
    for finding in findings:
        mark = click.style("ok", fg="green") if finding.well else click.style("!!", fg="red")
        click.echo(f"{mark}  {finding.what}" + (f"\n      → {finding.remedy}" if not finding.well else ""))
    if not all(finding.well for finding in findings):
        raise click.exceptions.Exit(1)


def examine(data: Path, models: Path) -> Iterator[Finding]:
    """Everything that a platform here needs."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= PYTHON_MIN, f"Python {version}", "install Python 3.11 or newer")
    for package in PACKAGES:
        yield _package(package)
    yield _redis()
    yield _disk(data)
    memory = psutil.virtual_memory().available
    yield Finding(
        memory >= MEMORY_MIN_BYTES,
        f"{memory / 1e9:.1f} GB of memory free",
        f"end something: training and serving want {MEMORY_MIN_BYTES / 1e9:.0f} GB",
    )
    yield _models(models)
    yield from _platform(data)


def _package(name: str) -> Finding:
    try:
        return Finding(True, f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(False, f"{name} is not installed", "make setup")


def _redis() -> Finding:
    try:
        return Finding(True, f"Redis server: {server_binary().name}")
    except NotFound as error:
        return Finding(False, str(error), "apt-get install redis-server, or brew install redis")


def _disk(data: Path) -> Finding:
    place = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.is_dir())
    if not os.access(place, os.W_OK):
        return Finding(
            False, f"no permission to write in {place}", "give another folder: tidemill --data DIR …"
        )
    free = shutil.disk_usage(place).free
    remedy = f"free some space: {DISK_FREE_MIN_BYTES / 1e9:.0f} GB are wanted, or give another --data folder"
    return Finding(free >= DISK_FREE_MIN_BYTES, f"{free / 1e9:.1f} GB free in {place}", remedy)


def _models(folder: Path) -> Finding:
    try:
        return Finding(True, "models: " + ", ".join(load_specs(folder)))
    except TidemillError as error:
        return Finding(False, str(error), "mend the file, or start where the folder `models` is")


def _platform(data: Path) -> Iterator[Finding]:
    """The ports of a platform that is down, or the health of one that runs."""
    try:
        deployment = find_deployment(data)
    except NotFound:
        deployment = Deployment(data.absolute(), Path("models").absolute(), Ports())
    if not _answers(f"{deployment.ingest_url}/healthz"):
        taken = list(deployment.ports.taken())
        for name, port, who in taken:
            remedy = "stop it, or start with `tidemill up --port-base 9500`"
            yield Finding(False, f"port {port} ({name}) is taken by {who}", remedy)
        if not taken:
            yield Finding(True, "no platform runs here; its ports are free: `make up` starts one")
        return
    ports = deployment.ports
    for name, port in (
        ("ingest", ports.ingest),
        ("persistor", ports.persistor_health),
        ("trainer", ports.trainer_health),
        ("serving", ports.agent_health),
        ("gateway", ports.gateway),
    ):
        reason = _unready(port)
        said = f"{name} is ready" if reason is None else f"{name} is not ready: {reason}"
        yield Finding(
            reason is None, said, f"read {data}/logs/{name}.log; a gateway waits for a first version"
        )


def _unready(port: int) -> str | None:
    """Why the process behind a port cannot do its work; None if it can."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2.0)
        return None if answer.status_code == 200 else str(answer.json().get("reason", answer.text))
    except (httpx.HTTPError, ValueError) as error:
        return str(error)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False
