"""Writes a round's curves into the store, as TensorBoard reads them."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import TidemillError
from tidemill_contracts.layout import round_prefix
from tidemill_registry.records import RoundRecord

from tidemill_trainer.gate import Evidence
from tidemill_trainer.reports.event_file import Scalar, event_file
from tidemill_trainer.training import Epochs
from tidemill_trainer.workbench import Workbench

EVENTS = "events.out.tfevents"

log = get_logger(__name__)


def write_round_log(bench: Workbench, round_: RoundRecord, epochs: Epochs, evidence: Evidence) -> None:
    """One event file per round; a store that does not take it costs the curves, not the round."""
    opened_s = round_.opened_at.timestamp()
    name = f"{round_prefix(round_.model, round_.id)}{EVENTS}.{int(opened_s)}.{round_.id}"
    try:
        bench.store.put(name, event_file(_scalars(round_, epochs, evidence), wall_time_s=opened_s))
    except TidemillError as error:
        log.warning("round_log_not_written", error=error, round_id=round_.id)


def _scalars(round_: RoundRecord, epochs: Epochs, evidence: Evidence) -> Iterator[Scalar]:
    for prefix, told in (("epoch", epochs.main), ("control", epochs.control)):
        for epoch in told:
            for name, value in epoch.items():
                if name != "epoch":
                    yield Scalar(f"{prefix}/{name}", int(epoch["epoch"]), value)
    for name, score in (("challenger", evidence.challenger), ("champion", evidence.champion)):
        if score is not None:
            for measure, value in score.measures.items():
                yield Scalar(f"validation/{name}_{measure}", round_.number, value)
    yield Scalar("samples/train", round_.number, round_.train_count)
    yield Scalar("samples/rehearsal", round_.number, round_.rehearsal_count)
    yield Scalar("samples/validation", round_.number, round_.validation_count)
