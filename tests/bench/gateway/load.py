"""Load from wrk, and what it cost the servers."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

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


@dataclass(frozen=True)
class Load:
    """So many connections ask for so many rows at a time."""

    connections: int
    rows: int


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
    run = subprocess.run(
        ["wrk", "-t", "1", "-c", str(load.connections), "-d", f"{seconds:g}s", "-s", str(script), url],
        capture_output=True,
        text=True,
        check=True,
    )
    spent_s = cpu_s(pids) - before_s
    found = re.search(r"RESULT (\{.*\})", run.stdout)
    if found is None:
        raise RuntimeError(f"wrk said nothing of its result: {run.stdout} {run.stderr}")
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


def family(pids: list[int]) -> list[psutil.Process]:
    """The processes and all their descendants."""
    found = [psutil.Process(pid) for pid in pids]
    return found + [child for process in found for child in process.children(recursive=True)]


def cpu_s(pids: list[int]) -> float:
    """User and system seconds that the processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in family(pids))


def memory_mb(pids: list[int]) -> float:
    """Their resident memory."""
    return sum(process.memory_info().rss for process in family(pids)) / 2**20
