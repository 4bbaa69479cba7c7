"""How far inputs and predictions have moved from training's, measure by measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from tidemill_registry.doubt_rows import undisputed
from tidemill_registry.round_tables import drift_measures
from tidemill_registry.tables import objects, samples


@dataclass(frozen=True)
class DriftMeasure:
    """A population stability index. subject: inputs or predictions; name: the feature, the class or 'all'."""

    model: str
    version: int
    ran_at: datetime
    subject: str
    name: str
    psi: float
    sample_count: int


def add_drift(sql: Connection, found: Sequence[DriftMeasure]) -> None:
    if found:
        sql.execute(drift_measures.insert(), [vars(each) for each in found])


def list_drift(sql: Connection, model: str) -> list[DriftMeasure]:
    """Every measure of the model's, the first one first."""
    columns = [column for column in drift_measures.c if column.name != "id"]
    query = select(*columns).where(drift_measures.c.model == model).order_by(drift_measures.c.id)
    return [DriftMeasure(*row) for row in sql.execute(query)]


def newest_tests(sql: Connection, dataset: str, *, limit: int) -> set[str]:
    """Ids of the test samples that were seen last."""
    query = (
        select(samples.c.sample_id)
        .join(objects, objects.c.name == samples.c.object)
        .where(
            samples.c.dataset == dataset, samples.c.role == "test", objects.c.fault.is_(None), undisputed()
        )
        .order_by(samples.c.seen_at.desc(), samples.c.object.desc(), samples.c.sample_id)
        .limit(limit)
    )
    return set(sql.scalars(query))
