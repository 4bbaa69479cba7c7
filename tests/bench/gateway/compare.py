"""The same model and load for us and for the others, one after another in one run, as one table.

``make bench-serving``, or ``python -m tests.bench.gateway.compare [--peers mlserver,kserve] [--seconds 10]``.
Ends with 1 where a promise is not kept.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.bench.gateway.load import Load, Measured, MeasuringFailed, keep_to_two_cores, measure, need_wrk
from tests.bench.gateway.ours import export_digits, run_ours
from tests.bench.gateway.promises import PROMISES, best_peer, broken
from tests.bench.gateway.quick import check
from tests.bench.peers.environments import NotUsable, version_of
from tests.bench.peers.options import parsed
from tests.bench.peers.peer import PEERS, Peer
from tests.bench.peers.running import run_peer, write_bodies

LOADS = tuple(promise.load for promise in PROMISES)
WARM_LOAD = Load(64, 1)
WARM_S = 3.0
SPANS = 4
"""Each load comes so often, by turns with the others. A machine that is shared with strangers is now and then
half as fast for some seconds: of each server the best is told that it showed."""
Figures = dict[Load, Measured]


def under_load(url: str, pids: list[int], bodies: Path, seconds: float) -> Figures:
    """A server's figures under every load, after a warm-up that is not counted."""
    measure(url, WARM_LOAD, models=bodies, pids=pids, seconds=WARM_S)
    spans = [
        {load: measure(url, load, models=bodies, pids=pids, seconds=seconds / SPANS) for load in LOADS}
        for _ in range(SPANS)
    ]
    return {load: best_of([span[load] for span in spans]) for load in LOADS}


def best_of(spans: list[Measured]) -> Measured:
    """The quickest span, with the least CPU that any had, and the errors of all."""
    quickest = max(spans, key=lambda span: span.requests_per_s)
    return replace(
        quickest,
        cpu_ms=min(span.cpu_ms for span in spans),
        errors=sum(span.errors for span in spans),
        memory_mb=max(span.memory_mb for span in spans),
    )


def figures_of(peer: Peer, models: Path, seconds: float) -> Figures:
    """A peer's figures. Raises NotUsable as run_peer does."""
    with run_peer(peer, models) as running:
        return under_load(running.url, running.pids, write_bodies(peer, models), seconds)


def our_figures(models: Path, seconds: float) -> Figures:
    """Ours; every answer that is not the model's own ends the run."""
    with run_ours(models) as running:
        for rows in (1, 32):
            check(running.url, models, rows)
        return under_load(running.url, running.pids, models, seconds)


def conditions() -> str:
    """On what the figures were taken, and how busy it was before."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores, busy = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{cores} cores of {names[0] if names else 'a processor'}, load average {busy:.1f} before"


def table(found: dict[str, Figures], ours: str) -> str:
    """A line for each server and load; how many times its requests are ours."""
    lines = [
        f"{'connections × rows':18} {'server':24} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8}"
        f" {'CPU ms':>8} {'MB':>6} {'errors':>6} {'ours is':>8}"
    ]
    for load in LOADS:
        for name, figures in sorted(found.items(), key=lambda one: -one[1][load].requests_per_s):
            m = figures[load]
            times = found[ours][load].requests_per_s / max(m.requests_per_s, 1e-9)
            lines.append(
                f"{load.connections:10} × {load.rows:<5} {name:24} {m.requests_per_s:10.0f} {m.p50_ms:8.2f}"
                f" {m.p99_ms:8.2f} {m.cpu_ms:8.3f} {m.memory_mb:6.0f} {m.errors:6} {times:7.2f}×"
            )
        lines.append("")
    return "\n".join(lines)


def main(names: list[str], seconds: float) -> int:
    """Measure, print, judge."""
    need_wrk()
    keep_to_two_cores()
    print(f"{conditions()}; {seconds} s under each load, in {SPANS} spans\n", flush=True)
    peers: dict[str, Figures] = {}
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        export_digits(models)
        for peer in (peer for peer in PEERS if peer.package in names):
            try:
                print(f"measuring {peer.package} …", flush=True)
                figures = figures_of(peer, models, seconds)
                peers[f"{peer.package} {version_of(peer)}"] = figures
            except (NotUsable, MeasuringFailed) as error:
                refused[peer.package] = str(error)
        print("measuring ours …\n", flush=True)
        ours = our_figures(models, seconds)
    print(table({**peers, "tidemill": ours}, "tidemill"))
    for load in LOADS:
        best = best_peer(load, peers)
        if best is not None:
            times = ours[load].requests_per_s / best[1].requests_per_s
            print(f"{load}: {times:.2f} times the best peer, {best[0]}")
    for name, reason in refused.items():
        print(f"{name} is not in the table: {reason}")
    failures = broken(ours, peers)
    for failure in failures:
        print(f"NOT KEPT {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    options = parsed(sys.argv[1:], __doc__, seconds=10)
    sys.exit(main(options.peers, options.seconds))
