"""Keeps the weights of challengers that were not published, so that a person may still force them through."""

from __future__ import annotations

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import NotFound
from tidemill_contracts.layout import ROUNDS, round_prefix
from tidemill_contracts.objects import ObjectStore
from tidemill_registry.records import RoundRecord

from tidemill_trainer.recipes.recipe import Weights
from tidemill_trainer.weights import dump_weights, load_weights
from tidemill_trainer.workbench import Workbench

CHALLENGER = "challenger.npz"
KEPT_MAX = 20
"""Challengers kept per model; older ones can only be made again, by `tidemill reproduce`."""

log = get_logger(__name__)


def keep_challenger(bench: Workbench, round_: RoundRecord, weights: Weights) -> None:
    """Write the weights beside the round's logs, and let go of those that are over KEPT_MAX."""
    name = _name(round_.model, round_.id)
    bench.outlast(lambda: bench.store.put(name, dump_weights(weights)))
    kept = sorted(
        (
            info.name
            for info in bench.store.list(f"{ROUNDS}{round_.model}/")
            if info.name.endswith(f"/{CHALLENGER}")
        ),
        key=_number,
    )
    for old in kept[:-KEPT_MAX]:
        bench.store.delete(old)


def kept_challenger(store: ObjectStore, round_: RoundRecord) -> Weights | None:
    """The weights of a round that was not published; None if they are not kept any more."""
    name = _name(round_.model, round_.id)
    try:
        return load_weights(store.get(name), name)
    except NotFound:
        return None


def _name(model: str, round_id: str) -> str:
    return round_prefix(model, round_id) + CHALLENGER


def _number(name: str) -> tuple[int, str]:
    """Rounds in their order: their ids end in number and time."""
    parts = name.split("/")[-2].rsplit("-", 2)
    return (int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else 0), name
