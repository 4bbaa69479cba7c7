"""What a test asks of the machine: a free port, a program, a server that answers."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

START_S_MAX = 60.0


def missing(what: str, remedy: str) -> NoReturn:
    """Skip on a laptop, fail in CI: there everything must be present."""
    said = f"{what} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
