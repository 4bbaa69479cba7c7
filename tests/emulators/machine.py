"""What a test asks of the machine: a free port, a program, a server that answers."""

from __future__ import annotations

import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

START_S_MAX = 60.0
PORTS = (10_000, 20_000)  # below what systems give to outgoing connections, and below the platform's
PORT_TRIES_MAX = 100


def missing(what: str, remedy: str) -> NoReturn:
    """Skip on a laptop, fail in CI: there everything must be present."""
    said = f"{what} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)


def free_port() -> int:
    """A port of loopback that nobody listens on now, and that no outgoing connection will be given.

    A port that the kernel chooses lies where it takes those of outgoing connections from: it could be gone
    before the server that is to have it has started.
    """
    for _ in range(PORT_TRIES_MAX):
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail(f"no port of {PORTS[0]} to {PORTS[1]} is free")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], *, limit_s: float = START_S_MAX) -> None:
    """Return once the condition holds; fail when it does not in time."""
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            pytest.fail(f"waited {limit_s:.0f} s in vain")
        time.sleep(0.02)


def find_program(name: str, *, variable: str, places: tuple[str, ...]) -> str | None:
    """The program that the variable names, or one on PATH, or one in its usual places."""
    candidates = (os.environ.get(variable), shutil.which(name), *places)
    return next((found for found in candidates if found and Path(found).is_file()), None)
