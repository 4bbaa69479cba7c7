"""Whom a caller's mistake hurts: 64 at once, one with a bad row, one who leaves, one whose time is up.

``make bench-guilty``, or ``python -m tests.bench.peers.guilty [--peers mlserver]``. The network is the one
that is measured elsewhere, with a check of its own: it fails on pixels above 1. Ends with 1 where an innocent
caller of ours does not get exactly its own answer, or a guilty one gets any.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.gateway.load import keep_to_two_cores
from tests.bench.gateway.ours import export_digits, run_ours
from tests.bench.peers.callers import Asked, Got, ask_all
from tests.bench.peers.environments import NotUsable, version_of
from tests.bench.peers.options import parsed
from tests.bench.peers.peer import OURS, PEERS, Peer
from tests.bench.peers.running import TOLERANCE, run_peer

INNOCENT = 61
LEAVES_S = 0.003
DEADLINE_S = 0.001
BAD_PIXEL = 9.0
FAILS_IN_MODEL, OTHER_SHAPE = "the model fails on it", "it has another shape"


@dataclass
class Seen:
    """What became of the callers, over all rounds.

    innocent: by "right", "wrong" or what else they got. leavers are not counted: nobody knows what they got.
    """

    innocent: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)


def bad_row(kind: str, row: list[Any]) -> list[Any]:
    """A digit with a mistake."""
    if kind == FAILS_IN_MODEL:
        return [[[BAD_PIXEL] for _ in line] for line in row]
    return [line[: len(line) // 2] for line in row]


def one_round(peer: Peer, url: str, models: Path, kind: str, chance: random.Random, seen: Seen) -> None:
    """All callers once, in an order by chance."""
    rows = json.loads((models / "body-32.json").read_text())["instances"]
    right = np.array(json.loads((models / "right-32.json").read_text()))

    def body(row: list[Any]) -> bytes:
        return json.dumps(peer.dialect.body([row])).encode()

    asked = [(f"innocent {n % len(rows)}", Asked(body(rows[n % len(rows)]))) for n in range(INNOCENT)]
    asked.append(("bad", Asked(body(bad_row(kind, rows[0])))))
    asked.append(("leaver", Asked(body(rows[0]), leaves_s=LEAVES_S)))
    if peer.deadline is not None:
        late, headers = peer.deadline(peer.dialect.body([rows[0]]), DEADLINE_S)
        asked.append(("late", Asked(json.dumps(late).encode(), headers)))
    chance.shuffle(asked)
    for (who, _), got in zip(asked, asyncio.run(ask_all(url, [one for _, one in asked])), strict=True):
        if who.startswith("innocent"):
            seen.innocent[_verdict(peer, got, right[int(who.split()[1])])] += 1
        elif who == "bad":
            seen.bad[str(got.status or got.body.decode())] += 1
        elif who == "late":
            seen.late[str(got.status or got.body.decode())] += 1


def _verdict(peer: Peer, got: Got, right: Any) -> str:
    if got.status != 200:
        return str(got.status or got.body.decode())
    try:
        found = np.array(peer.dialect.rows(json.loads(got.body)))
    except (ValueError, KeyError, TypeError):
        return "200 without an answer"
    fits = found.shape == (1, *right.shape) and float(np.abs(found - right).max()) < TOLERANCE
    return "right" if fits else "WRONG"


def see(peer: Peer, url: str, models: Path, rounds: int) -> dict[str, Seen]:
    """What becomes of the callers, for each kind of mistake."""
    found = {kind: Seen() for kind in (FAILS_IN_MODEL, OTHER_SHAPE)}
    for kind, seen in found.items():
        chance = random.Random(7)
        for _ in range(rounds):
            one_round(peer, url, models, kind, chance, seen)
    return found


def is_kept(seen: Seen, rounds: int) -> bool:
    """Whether every innocent caller got exactly its own answer, and no guilty one any."""
    innocent = seen.innocent == Counter(right=rounds * INNOCENT)
    return innocent and set(seen.bad) == {"400"} and set(seen.late) == {"504"}


def told(name: str, found: dict[str, Seen]) -> None:
    """A few lines of the report."""
    print(name)
    for kind, seen in found.items():
        late = dict(seen.late) or "has no way to say so"
        print(f"  a bad row, {kind}: the {INNOCENT} innocent callers got {dict(seen.innocent)};")
        print(f"      the caller with the bad row {dict(seen.bad)}; the one whose time was up {late}")
    sys.stdout.flush()


def main(names: list[str], rounds: int) -> int:
    """See, tell, judge ours."""
    keep_to_two_cores()
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        export_digits(models, guarded=True)
        for peer in (peer for peer in PEERS if peer.package in names):
            try:
                with run_peer(peer, models) as running:
                    told(f"{peer.package} {version_of(peer)}", see(peer, running.url, models, rounds))
            except NotUsable as error:
                print(f"{peer.package} is not shown: {error}", flush=True)
        with run_ours(models) as running:
            ours = see(OURS, running.url, models, rounds)
    told("tidemill", ours)
    kept = all(is_kept(seen, rounds) for seen in ours.values())
    print("only the guilty failed with us" if kept else "NOT KEPT: not only the guilty failed with us")
    return 0 if kept else 1


if __name__ == "__main__":
    options = parsed(sys.argv[1:], __doc__, rounds=10)
    sys.exit(main(options.peers, options.rounds))
