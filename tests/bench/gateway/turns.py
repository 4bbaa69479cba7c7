"""Two states of our own code under load by turns, in one run: what a change is worth.

``python -m tests.bench.gateway.turns OTHER``: OTHER is the root of another checkout, or ``.`` for this one
with other settings. What a side is started with, the engine's flags and both processes' variables, is given
like ``--here-with "TIDEMILL_GATEWAY_BATCHES_MAX=1 --grpc_max_threads=2"``, and ``--other-with``.

CPU per request, of gateway and engine apart, is the figure to trust, and only between sides whose batches are
about as large; the last column counts the turns in which this checkout was the cheaper one.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import httpx

from tests.bench.gateway.load import Load, cpu_s, keep_to_two_cores, measure, need_wrk
from tests.bench.gateway.ours import Running, export_digits, run_ours
from tests.bench.gateway.quick import check

LOADS = (Load(16, 1), Load(64, 1), Load(8, 32))
WARM_S = 2.0
HERE = Path(__file__).parents[3]
_HEAD = "connections × rows  side   requests/s  CPU ms  gateway  engine   p99 ms  rows/batch  cheaper\n"
_LINE = "{:11} × {:<4}  {:5}  {:10.0f}  {:6.3f}  {:7.3f}  {:6.3f}  {:7.1f}  {:10.1f}  {}\n"


@dataclass(frozen=True)
class Turn:
    """One load on one side. CPU in milliseconds a request: of both, of the gateway, of the engine."""

    requests_per_s: float
    cpu_ms: float
    gateway_ms: float
    engine_ms: float
    p99_ms: float
    batch_rows: float


def turn(side: Running, load: Load, models: Path, seconds: float) -> Turn:
    """The load once, and what each process paid."""
    gateway, engine = ([pid] for pid in side.pids)
    gateway_s, engine_s, batches = cpu_s(gateway), cpu_s(engine), batches_of(side)
    found = measure(side.url, load, models=models, pids=side.pids, seconds=seconds)
    gateway_s, engine_s = cpu_s(gateway) - gateway_s, cpu_s(engine) - engine_s
    if found.errors or not found.cpu_ms:
        raise AssertionError(f"{found.errors} errors under {load}, {found.cpu_ms} ms of CPU a request")
    requests = (gateway_s + engine_s) * 1000 / found.cpu_ms
    return Turn(
        found.requests_per_s,
        found.cpu_ms,
        gateway_s * 1000 / requests,
        engine_s * 1000 / requests,
        found.p99_ms,
        requests * load.rows / max(1.0, batches_of(side) - batches),
    )


def batches_of(side: Running) -> float:
    """How many batches the gateway has sent."""
    text = httpx.get(side.url.partition("/v1/")[0] + "/metrics").text
    counts = re.findall(r"^tidemill_gateway_batch_rows_count\{.*\} (\S+)", text, re.MULTILINE)
    return sum(map(float, counts))


def started(models: Path, name: str, root: Path, given: str) -> AbstractContextManager[Running]:
    """One side, from its root and what it is given."""
    flags = [word for word in given.split() if word.startswith("--")]
    variables = dict(word.split("=", 1) for word in given.split() if not word.startswith("--"))
    return run_ours(models, root=root, engine_flags=flags, name=name, **variables)


def main(options: argparse.Namespace) -> None:
    """Print the medians of both sides under every load."""
    need_wrk()
    keep_to_two_cores()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        models = Path(folder)
        export_digits(models)
        other = Path(options.other).resolve()
        sides = {
            "other": stack.enter_context(started(models, "other", other, options.other_with)),
            "here": stack.enter_context(started(models, "here", HERE, options.here_with)),
        }
        for side in sides.values():
            for rows in (1, 32):
                check(side.url, models, rows)
                measure(side.url, Load(32, rows), models=models, pids=side.pids, seconds=WARM_S)
        sys.stdout.write(_HEAD)
        for load in LOADS:
            found: dict[str, list[Turn]] = {name: [] for name in sides}
            for number in range(options.turns):
                for name in sorted(sides, reverse=bool(number % 2)):
                    found[name].append(turn(sides[name], load, models, options.seconds))
            pairs = list(zip(found["here"], found["other"], strict=True))
            won = sum(here.cpu_ms < there.cpu_ms for here, there in pairs)
            for name, turns in found.items():
                medians = [median(values) for values in zip(*map(astuple, turns), strict=True)]
                said = f"{won} of {options.turns}" if name == "here" else ""
                sys.stdout.write(_LINE.format(load.connections, load.rows, name, *medians, said))
            sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--here-with", default="")
    parser.add_argument("--other-with", default="")
    main(parser.parse_args())
