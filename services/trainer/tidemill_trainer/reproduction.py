"""Repeats a round from its snapshot: the same decision and, on the same machine, the same weights.

Nothing is written anywhere.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.errors import Corrupt, NotFound
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.objects import ObjectStore
from tidemill_registry import Registry
from tidemill_registry.decision_rows import DecisionRecord, read_decisions, ruling
from tidemill_registry.records import RoundRecord
from tidemill_registry.round_rows import get_round, read_snapshot

from tidemill_trainer.champion import load_champion
from tidemill_trainer.datasets import Learner
from tidemill_trainer.gate import decide
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.rounds import overrule
from tidemill_trainer.training import gather, measure, train
from tidemill_trainer.weights import weights_digest
from tidemill_trainer.workbench import Workbench


@dataclass(frozen=True)
class Reproduction:
    """What was recorded, and what came out now."""

    round_id: str
    promote_then: bool
    promote_now: bool
    reason_then: str
    reason_now: str
    weights_then: str
    weights_now: str

    @property
    def same_decision(self) -> bool:
        return (self.promote_then, self.reason_then) == (self.promote_now, self.reason_now)

    @property
    def same_weights(self) -> bool:
        return self.weights_then == self.weights_now


def reproduce(
    round_id: str, *, registry: Registry, store: ObjectStore, learner: Learner | None = None
) -> Reproduction:
    """Train, measure and decide again as the round did.

    learner: for tests; else of the YAML that the round was run with, which is recorded with its decision.

    Raises:
        NotFound: there is no such round, or it has decided nothing.
        Corrupt: what it was made from is no longer what it was.
        Unavailable: store or database did not answer.
    """
    with registry.read() as sql:
        round_ = get_round(sql, round_id)
        recorded = read_decisions(sql, round_.model).get(round_id)
        wish = ruling(sql, round_.model, round_id)
        snapshot = read_snapshot(sql, round_)
    if recorded is None:
        raise NotFound(f"round {round_id} is {round_.status} and has decided nothing that could be compared")
    learner = learner or _learner(recorded)
    with tempfile.TemporaryDirectory(prefix="tidemill-reproduce-") as folder:
        bench = _bench(learner, registry, store, Path(folder))
        champion = None
        if round_.champion_version is not None:
            champion = load_champion(learner, store, round_.champion_version)
            if champion is None:
                raise Corrupt(f"version {round_.champion_version}, its champion, no longer fits its YAML")
        material = gather(bench, snapshot)
        weights, _, _ = train(bench, round_, material, champion)
        evidence = measure(bench, round_, material, weights, champion)
        decision = overrule(decide(evidence, learner.spec.gate), wish)
    return _compared(round_, recorded, decision.promote, decision.reason, weights_digest(weights))


def _compared(
    round_: RoundRecord, recorded: DecisionRecord, promote: bool, reason: str, digest: str
) -> Reproduction:
    return Reproduction(
        round_id=round_.id,
        promote_then=recorded.promote,
        promote_now=promote,
        reason_then=recorded.reason,
        reason_now=reason,
        weights_then=str(recorded.numbers.get("weights_sha256", "")),
        weights_now=digest,
    )


def _learner(recorded: DecisionRecord) -> Learner:
    spec = ModelSpec.model_validate(recorded.numbers["spec"])
    return Learner(spec, open_recipe(spec))


def _bench(learner: Learner, registry: Registry, store: ObjectStore, work: Path) -> Workbench:
    lease = LeaseKeeper(registry, "reproduction", duration_s=60, clock=_now)  # never taken
    return Workbench(
        learner=learner,
        registry=registry,
        store=store,
        bus=MemoryBus(),
        lease=lease,
        clock=_now,
        stop=Stop(),
        work=work,
        only_looks=True,
    )


def _now() -> datetime:
    return datetime.now(UTC)
