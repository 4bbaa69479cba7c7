"""Indexing: the samples of a batch object become rows, each with its role, exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Corrupt, NotFound
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import Split
from tidemill_registry import Registry
from tidemill_registry.batches import mark_indexed, pending_objects, quarantine
from tidemill_registry.records import ObjectCounts, RefusedSample, Role, SampleRow, StoredObject
from tidemill_registry.refused_rows import add_refusals
from tidemill_registry.sample_rows import (
    add_samples,
    ids_in_object,
    known_ids,
    move_samples,
    roles_of_contents,
    spoilt_samples,
)
from tidemill_registry.statistics import renew_statistics

from tidemill_trainer.contents import FoundSample, read_contents
from tidemill_trainer.datasets import Dataset
from tidemill_trainer.monitoring.doubts import Sides, note_claims, note_likenesses, sketch_all
from tidemill_trainer.roles import may_join, role_of

FAULTS_LOGGED_MAX = 5
"""Of one object; the count is always told in full."""

log = get_logger(__name__)


def index_pending(
    dataset: Dataset,
    *,
    registry: Registry,
    store: ObjectStore,
    limit: int,
    now: datetime,
    sides: Sides | None = None,
) -> int:
    """Index up to `limit` objects of the dataset that wait for it; return how many there were.

    Raises:
        Unavailable: store or database did not answer; what is not indexed yet is still waiting.
    """
    with registry.read() as sql:
        pending = pending_objects(sql, dataset.name, limit=limit)
    for each in pending:
        try:
            _index(each, dataset, registry, store, now, sides or Sides())
        except (Corrupt, NotFound) as error:
            log.error("object_quarantined", error=error, object=each.name)
            with registry.write() as sql:
                quarantine(sql, each.name, str(error))
    if pending:
        with registry.write() as sql:
            renew_statistics(sql)
    return len(pending)


def _index(
    object_: StoredObject,
    dataset: Dataset,
    registry: Registry,
    store: ObjectStore,
    now: datetime,
    sides: Sides,
) -> None:
    data = store.get(object_.name)
    contents = read_contents(object_, data)
    refused = list(contents.refused)
    usable: list[FoundSample] = []
    checked = dataset.faults([found.sample for found in contents.found])
    for found, fault in zip(contents.found, checked, strict=True):
        if fault is None:
            usable.append(found)
        else:
            refused.append(_refused(object_, found, fault))
    sketches = sketch_all(dataset, usable)
    with registry.write() as sql:
        counts = _add(sql, object_, dataset, usable, now, sketches=sketches, sides=sides)
        counts = replace(counts, message_count=contents.message_count, invalid_count=len(refused))
        add_refusals(sql, dataset.name, refused)
        sha256 = hashlib.sha256(data).hexdigest()
        mark_indexed(sql, object_.name, sha256=sha256, counts=counts, now=now)
    for each in refused[:FAULTS_LOGGED_MAX]:
        log.warning(
            "sample_invalid",
            object=each.object,
            message=each.message_position,
            sample=each.sample_position,
            fault=each.reason,
        )
    log.info("object_indexed", object=object_.name, **vars(counts))


def _add(
    sql: Connection,
    object_: StoredObject,
    dataset: Dataset,
    usable: Iterable[FoundSample],
    now: datetime,
    *,
    sketches: Mapping[str, str],
    sides: Sides,
) -> ObjectCounts:
    """Add what is new. The first arrival of an id, and of a content, decides the role for ever.

    A copy of a sample whose object is in quarantine takes its place: the sample is back in the training view.
    """
    split: Split = "test" if object_.split == "test" else "train"
    arrivals = list(usable)
    known = known_ids(sql, dataset.name, [found.sample_id for found in arrivals])
    twins = roles_of_contents(sql, dataset.name, [found.digest for found in arrivals])
    spoilt = spoilt_samples(sql, dataset.name, known) if known else {}
    # Known from here: the object is read once more, or another trainer was quicker.
    own = ids_in_object(sql, dataset.name, known, object_.name) if known else set()
    rows: list[SampleRow] = []
    moved: list[SampleRow] = []
    kept = 0
    leaked: list[RefusedSample] = []
    duplicates = 0
    for found in arrivals:
        if found.sample_id in own:
            own.discard(found.sample_id)
            kept += 1
            continue
        if spoilt.get(found.sample_id) == found.digest:
            del spoilt[found.sample_id]
            moved.append(_row(object_, found, "train"))
            continue
        if found.sample_id in known:
            duplicates += 1
            continue
        role = role_of(found.sample_id, split, validation_percent=dataset.validation_percent)
        twin = twins.get(found.digest)
        if not may_join(role, twin):
            leaked.append(_refused(object_, found, f"its content is known as {twin}"))
            continue
        # The same content under another id goes where the first one went: never both train and validate.
        role = twin or role
        known.add(found.sample_id)
        twins[found.digest] = role
        rows.append(_row(object_, found, role))
    add_samples(sql, dataset.name, rows, seen_at=now)
    move_samples(sql, dataset.name, moved)
    add_refusals(sql, dataset.name, leaked)
    disputed = note_claims(sql, dataset.name, object_, arrivals, rows, now)
    new = {row.sample_id: sketches[row.sample_id] for row in rows if row.sample_id in sketches}
    near = note_likenesses(sql, dataset.name, sides, new, is_test=split == "test", now=now)
    if disputed or near:
        log.warning("samples_in_doubt", object=object_.name, label_claims=disputed, near_duplicates=near)
    sample_count = len(rows) + len(moved) + kept
    return ObjectCounts(sample_count=sample_count, duplicate_count=duplicates, leaked_count=len(leaked))


def _row(object_: StoredObject, found: FoundSample, role: Role) -> SampleRow:
    return SampleRow(
        sample_id=found.sample_id,
        object=object_.name,
        message_position=found.message_position,
        sample_position=found.sample_position,
        label=found.sample.label,
        role=role,
        digest=found.digest,
    )


def _refused(object_: StoredObject, found: FoundSample, reason: str) -> RefusedSample:
    return RefusedSample(object_.name, found.message_position, found.sample_position, found.sample_id, reason)
