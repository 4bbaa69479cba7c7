"""Samples that are kept and can train nothing, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from tidemill_registry.records import RefusedSample
from tidemill_registry.sample_rows import known_ids
from tidemill_registry.statements import in_chunks, insert_or_ignore
from tidemill_registry.tables import refused_samples
from tidemill_registry.texts import plain_text

REASON_LENGTH_MAX = 300
WHOLE_MESSAGE = -1


def add_refusals(sql: Connection, dataset: str, refused: Sequence[RefusedSample]) -> None:
    """Note why each of these is used by nobody. In the same transaction as its object's samples."""
    rows = [
        {
            "object": each.object,
            "message_position": each.message_position,
            "sample_position": WHOLE_MESSAGE if each.sample_position is None else each.sample_position,
            "dataset": dataset,
            "sample_id": each.sample_id,
            "reason": plain_text(each.reason, REASON_LENGTH_MAX),
        }
        for each in refused
    ]
    insert_or_ignore(sql, refused_samples, rows)


def refusals_of(sql: Connection, dataset: str, ids: Iterable[str]) -> dict[str, str]:
    """Why each of these samples was refused, by id; one that was never refused is not in it."""
    found: dict[str, str] = {}
    for chunk in in_chunks(ids):
        query = select(refused_samples.c.sample_id, refused_samples.c.reason).where(
            refused_samples.c.dataset == dataset, refused_samples.c.sample_id.in_(chunk)
        )
        found.update((row.sample_id, row.reason) for row in sql.execute(query))
    return found


def accounted_ids(sql: Connection, dataset: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids that the trainer has read: taken into the dataset, or refused with a reason."""
    wanted = list(ids)
    known = known_ids(sql, dataset, wanted)
    return known | refusals_of(sql, dataset, [ident for ident in wanted if ident not in known]).keys()
