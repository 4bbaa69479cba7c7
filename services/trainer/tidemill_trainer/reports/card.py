"""The model card that lies beside a version."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tidemill_contracts.manifest import ModelCard
from tidemill_contracts.model_spec import ModelSpec
from tidemill_registry.records import RoundRecord

from tidemill_trainer.recipes.recipe import Weights
from tidemill_trainer.weights import weights_digest

_APART = ("reference", "spec")
_PACKAGES = ("tidemill-trainer", "tensorflow-cpu", "tensorflow", "keras", "numpy")


def make_card(
    spec: ModelSpec,
    round_: RoundRecord,
    weights: Weights,
    *,
    number: int,
    created_at: datetime,
    numbers: Mapping[str, Any],
    objects: Mapping[str, str],
) -> ModelCard:
    """What the version `number` is, from the round that made it.

    numbers: the gate's. objects: digests by name of those that the round's own samples lie in.
    """
    return ModelCard(
        model=spec.name,
        version=number,
        kind=spec.kind,
        dataset=spec.dataset,
        created_at=created_at,
        round_id=round_.id,
        round_number=round_.number,
        parent_version=round_.champion_version,
        labels=spec.labels,
        train_samples=round_.train_count + round_.rehearsal_count,
        validation_samples=round_.validation_count,
        metrics=_metrics(round_.challenger_accuracy, round_.challenger_loss) or {},
        champion_metrics=_metrics(round_.champion_accuracy, round_.champion_loss),
        decision=round_.reason or "",
        seed=round_.seed,
        environment=_environment(),
        further={
            "input": spec.input.model_dump(mode="json") if spec.input else None,
            "round_kind": round_.kind,
            "rehearsal_samples": round_.rehearsal_count,
            "weights_sha256": weights_digest(weights),
            "snapshot_sha256": snapshot_digest(objects),
            "objects": dict(objects),
            "gate": {name: each for name, each in numbers.items() if name not in _APART},
            **{name: numbers.get(name, {}) for name in _APART},
            "reproduce": f"tidemill reproduce {round_.id}",
        },
    )


def snapshot_digest(objects: Mapping[str, str]) -> str:
    """SHA-256 over the objects' names and digests: names what a round was made of."""
    lines = (f"{name}\t{digest}\n" for name, digest in sorted(objects.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _metrics(accuracy: float | None, loss: float | None) -> dict[str, float] | None:
    return None if accuracy is None or loss is None else {"accuracy": accuracy, "loss": loss}


def _environment() -> dict[str, str]:
    """The versions under which the same data and seed give the same weights."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
