"""What the gateway and its engine together have promised, beside the best of the others in the same run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.gateway.load import Load, Measured


@dataclass(frozen=True)
class Promise:
    """Under a load: so many times the requests of the best peer, for at most so much CPU each."""

    load: Load
    times_best_peer: float
    cpu_ms_max: float | None = None


PROMISES = (
    Promise(Load(16, 1), 3.0, 0.45),
    Promise(Load(64, 1), 3.0, 0.22),
    Promise(Load(8, 32), 2.0),
)
P99_BY_P50_MAX = 5.0


def best_peer(load: Load, peers: dict[str, dict[Load, Measured]]) -> tuple[str, Measured] | None:
    """Who answered most under a load; only who answered without errors counts."""
    found = [(name, each[load]) for name, each in peers.items() if load in each and not each[load].errors]
    return max(found, key=lambda one: one[1].requests_per_s, default=None)


def broken(ours: dict[Load, Measured], peers: dict[str, dict[Load, Measured]]) -> list[str]:
    """The promises that these figures do not keep, in words."""
    found = []
    for promise in PROMISES:
        load, own = promise.load, ours[promise.load]
        best = best_peer(load, peers)
        if own.errors:
            found.append(f"{load}: {own.errors} of our answers were errors")
        if best is None:
            found.append(f"{load}: no peer answered, so nothing is shown")
        elif own.requests_per_s < promise.times_best_peer * best[1].requests_per_s:
            times = own.requests_per_s / best[1].requests_per_s
            found.append(f"{load}: {times:.2f} times {best[0]}, promised {promise.times_best_peer:g} times")
        if promise.cpu_ms_max is not None and own.cpu_ms > promise.cpu_ms_max:
            found.append(f"{load}: {own.cpu_ms:.3f} ms of CPU a request, promised {promise.cpu_ms_max} ms")
    return found
