"""Promotes a challenger: reserve a version, publish it, close the round.

Stopped at any point, it is completed from what lies in the store, or done again under the same number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tidemill_chassis.logs import get_logger
from tidemill_contracts import golden
from tidemill_contracts.errors import Conflict, Corrupt
from tidemill_contracts.layout import MODEL_CARD, MODEL_PAGE
from tidemill_contracts.manifest import Manifest, dump_document
from tidemill_registry.batches import get_objects
from tidemill_registry.decision_rows import read_decisions
from tidemill_registry.records import RoundRecord, SampleRow, VersionRecord
from tidemill_registry.round_rows import change_round, get_round, objects_of_round
from tidemill_registry.version_rows import last_version

from tidemill_trainer import weights as weights_file
from tidemill_trainer.closing import close_round
from tidemill_trainer.examples import read_samples
from tidemill_trainer.publishing.publication import (
    Publication,
    announce_version,
    find_manifest,
    last_stored_version,
    read_folder,
    write_version,
)
from tidemill_trainer.recipes.recipe import Weights
from tidemill_trainer.reports.card import make_card, snapshot_digest
from tidemill_trainer.reports.card_page import card_page
from tidemill_trainer.workbench import Workbench

GOLDEN_SAMPLES = 8
SCRATCH_PREFIX = "round-"

log = get_logger(__name__)


def promote(
    bench: Workbench,
    round_: RoundRecord,
    weights: Weights,
    validation: Sequence[SampleRow],
) -> RoundRecord:
    """Publish the weights as a new version and close the round.

    Raises:
        Unavailable, Conflict, Interrupted: as `run_round`; the round stays in publication.
    """
    round_ = bench.outlast(lambda: _reserve(bench, round_))
    publication = _publication(bench, round_)
    with bench.registry.read() as sql:
        decision = read_decisions(sql, round_.model).get(round_.id)
        objects = objects_of_round(sql, round_.id)
    card = make_card(
        bench.spec,
        round_,
        weights,
        number=publication.version,
        created_at=publication.created_at,
        numbers=decision.numbers if decision else {},
        objects=objects,
    )
    files = {
        **_export(bench, weights),
        MODEL_CARD: dump_document(card),
        MODEL_PAGE: card_page(card),
        weights_file.PATH: weights_file.dump_weights(weights),
        golden.PATH: _golden(bench, weights, validation[:GOLDEN_SAMPLES]),
    }

    def publish() -> Manifest:
        # A try that seemed to fail may have gone through: then the manifest is there, and it is ours.
        manifest = find_manifest(bench.store, publication) or write_version(bench.store, publication, files)
        announce_version(bench.store, bench.bus, publication, manifest)
        return manifest

    return _close(bench, round_, bench.outlast(publish))


def finish_promotion(bench: Workbench, round_: RoundRecord) -> RoundRecord | None:
    """Close a round whose version is whole in the store; None if it is not, and must be made again.

    Raises:
        Unavailable, Conflict, Interrupted: as `run_round`.
    """
    if round_.challenger_version is None:  # a round that a person forced, stopped before it had a number
        return None
    publication = _publication(bench, round_)
    try:
        manifest = bench.outlast(lambda: find_manifest(bench.store, publication))
    except Conflict as error:
        log.warning("version_taken_by_another", error=error, round_id=round_.id)
        return None
    if manifest is None:
        return None
    bench.outlast(lambda: announce_version(bench.store, bench.bus, publication, manifest))
    return _close(bench, round_, manifest)


def _reserve(bench: Workbench, round_: RoundRecord) -> RoundRecord:
    """Give the round its version number and its time, once; a number is never used twice."""
    with bench.registry.read() as sql:  # a try whose answer was lost may have reserved one
        round_ = get_round(sql, round_.id)
    number, decided_at = round_.challenger_version, round_.decided_at
    stored = last_stored_version(bench.store, round_.model)
    is_taken = number is not None and _is_taken(bench, round_)
    with bench.lease.write() as sql:
        if number is None or decided_at is None or is_taken:
            # The store counts too: a registry that was lost begins again at 1.
            number, decided_at = max(last_version(sql, round_.model), stored) + 1, bench.clock()
        values = {"challenger_version": number, "decided_at": decided_at}
        return change_round(sql, round_.id, status="publishing", phase="publishing", **values)


def _is_taken(bench: Workbench, round_: RoundRecord) -> bool:
    try:
        find_manifest(bench.store, _publication(bench, round_))
    except Conflict:
        return True
    return False


def _publication(bench: Workbench, round_: RoundRecord) -> Publication:
    if round_.challenger_version is None or round_.decided_at is None:
        raise Corrupt(f"round {round_.id} is in publication without a version")
    with bench.registry.read() as sql:
        objects = objects_of_round(sql, round_.id)
    return Publication(
        model=round_.model,
        version=round_.challenger_version,
        round_id=round_.id,
        parent_version=round_.champion_version,
        created_at=round_.decided_at,
        snapshot=snapshot_digest(objects),
    )


def _export(bench: Workbench, weights: Weights) -> dict[str, bytes]:
    bench.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.work, prefix=SCRATCH_PREFIX) as folder:
        bench.learner.recipe.export(weights, Path(folder))
        return read_folder(Path(folder))


def _golden(bench: Workbench, weights: Weights, rows: Sequence[SampleRow]) -> bytes:
    with bench.registry.read() as sql:
        objects = get_objects(sql, {row.object for row in rows})
    samples = [each for _, found in read_samples(bench.store, rows, objects) for each in found]
    return dump_document(bench.learner.recipe.golden(weights, samples))


def _close(bench: Workbench, round_: RoundRecord, manifest: Manifest) -> RoundRecord:
    version = VersionRecord(
        model=manifest.model,
        version=manifest.version,
        round_id=round_.id,
        parent_version=manifest.parent_version,
        digest=manifest.digest,
        created_at=manifest.created_at,
        accuracy=round_.challenger_accuracy or 0.0,
        loss=round_.challenger_loss or 0.0,
    )
    return close_round(bench, round_, "promoted", version=version)
