"""From a version to every sample that made it, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select
from tidemill_contracts.errors import NotFound

from tidemill_registry.records import VersionRecord
from tidemill_registry.statements import in_chunks
from tidemill_registry.tables import objects, round_samples, samples
from tidemill_registry.version_rows import list_versions


@dataclass(frozen=True)
class MadeOf:
    """A sample's part in a version: in which of the line's rounds, as what, with which label, from where."""

    version: int
    round_id: str
    part: str
    sample_id: str
    label: str
    object: str
    object_sha256: str
    message_position: int
    sample_position: int
    digest: str


def line_of(sql: Connection, model: str, version: int) -> list[VersionRecord]:
    """The version and its parents, the first of the line first.

    Raises:
        NotFound: the model has no such version.
    """
    known = {each.version: each for each in list_versions(sql, model)}
    if version not in known:
        raise NotFound(f"{model} has no version {version}; `tidemill models {model}` lists them")
    line: list[VersionRecord] = []
    step: int | None = version
    while step is not None and step in known:
        line.append(known[step])
        step = known[step].parent_version
    return line[::-1]


def samples_of(sql: Connection, line: Sequence[VersionRecord]) -> list[MadeOf]:
    """Every sample of the rounds of a line, round by round.

    A version goes on from its parent's weights, so that the samples of the whole line made it.
    """
    found: list[MadeOf] = []
    for each in line:
        query = _query().where(round_samples.c.round_id == each.round_id)
        ordered = query.order_by(round_samples.c.part, samples.c.sample_id)
        found.extend(MadeOf(each.version, *row) for row in sql.execute(ordered))
    return found


def versions_of(sql: Connection, model: str, sample_id: str) -> list[MadeOf]:
    """In which versions of the model a sample had a part of its own, the first one first.

    Versions that descend from one of them have it in their line too.
    """
    by_round = {each.round_id: each.version for each in list_versions(sql, model)}
    found: list[MadeOf] = []
    for chunk in in_chunks(sorted(by_round)):
        query = _query().where(round_samples.c.sample_id == sample_id, round_samples.c.round_id.in_(chunk))
        found.extend(MadeOf(by_round[row[0]], *row) for row in sql.execute(query))
    return sorted(found, key=lambda each: each.version)


def _query() -> Select[Any]:
    same = (samples.c.dataset == round_samples.c.dataset) & (samples.c.sample_id == round_samples.c.sample_id)
    return select(
        round_samples.c.round_id,
        round_samples.c.part,
        samples.c.sample_id,
        func.coalesce(round_samples.c.label, samples.c.label),
        samples.c.object,
        objects.c.sha256,
        samples.c.message_position,
        samples.c.sample_position,
        samples.c.digest,
    ).select_from(round_samples.join(samples, same).join(objects, objects.c.name == samples.c.object))
