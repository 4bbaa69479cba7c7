"""Load from wrk, and what it cost the servers."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

CORES = 2
APT_S_MAX = 300
ANSWER_S_MAX = 30
SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  local e = summary.errors
  local form = 'RESULT {{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}}\\n'
  io.write(string.format(form, summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class MeasuringFailed(Exception):
    """wrk could not measure; the text is what it said."""


@dataclass(frozen=True)
class Load:
    """So many connections ask for so many rows at a time."""

    connections: int
    rows: int

    def __str__(self) -> str:
        return f"{self.connections} connections, {self.rows} {'row' if self.rows == 1 else 'rows'} a request"


@dataclass(frozen=True)
class Measured:
    """cpu_ms: user and system time of all the server's processes, per request."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    errors: int
    memory_mb: float


def measure(url: str, load: Load, *, models: Path, pids: list[int], seconds: float) -> Measured:
    """Ask `url` for `seconds`; the processes `pids` and their children pay."""
    script = models / f"load-{load.rows}.lua"
    script.write_text(SCRIPT.format(body=models / f"body-{load.rows}.json"))
    before_s = cpu_s(pids)
    lasts, patience = f"{math.ceil(seconds)}s", f"{ANSWER_S_MAX}s"
    run = subprocess.run(
        [
            *("wrk", "--threads", "1", "--connections", str(load.connections), "--duration", lasts),
            *("--timeout", patience, "--script", str(script), url),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    spent_s = cpu_s(pids) - before_s
    found = re.search(r"RESULT (\{.*\})", run.stdout)
    if run.returncode or found is None:
        raise MeasuringFailed(f"wrk ended with {run.returncode}: {(run.stdout + run.stderr).strip()}")
    result = json.loads(found[1])
    count = max(1, result["requests"])
    return Measured(
        requests_per_s=result["requests"] / (result["duration_us"] / 1e6),
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
        cpu_ms=spent_s * 1000 / count,
        errors=result["errors"],
        memory_mb=memory_mb(pids),
    )


def need_wrk() -> None:
    """Have wrk, from Debian's packages where we may install it.

    Raises:
        RuntimeError: it is missing and could not be installed; the text says what to type.
    """
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "wrk"]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=APT_S_MAX, check=False)
        if shutil.which("wrk"):
            return
        raise RuntimeError(f"wrk is missing and could not be installed: {done.stderr.strip()}")
    raise RuntimeError("wrk is missing: apt-get install wrk")


def keep_to_two_cores() -> None:
    """From here on this process and all that it starts share two cores, as many as the figures are for."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def family(pids: list[int]) -> list[psutil.Process]:
    """The processes, all their descendants, and what has stayed in a session that one of them leads."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            ours = process.pid in pids or os.getsid(process.pid) in pids
            if ours or any(parent.pid in pids for parent in process.parents()):
                found[process.pid] = process
    return list(found.values())


def cpu_s(pids: list[int]) -> float:
    """User and system seconds that the processes have used."""
    total = 0.0
    for process in family(pids):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def memory_mb(pids: list[int]) -> float:
    """Their resident memory."""
    total = 0
    for process in family(pids):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 2**20
