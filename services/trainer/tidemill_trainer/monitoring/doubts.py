"""Finds what is doubtful among the arrivals of an object: a second label, a likeness across the test line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_registry import Registry
from tidemill_registry.decision_rows import answer_wish, open_wishes
from tidemill_registry.doubt_rows import (
    LabelClaim,
    add_claims,
    add_near,
    add_sketches,
    labels_by_content,
    labels_by_id,
    read_sketches,
    relabel,
)
from tidemill_registry.records import SampleRow, StoredObject

from tidemill_trainer.contents import FoundSample
from tidemill_trainer.datasets import Dataset
from tidemill_trainer.monitoring.likeness import Likenesses, image_sketches, sketch

log = get_logger(__name__)


class Sides:
    """The sketches on both sides of a dataset's test line, read from the registry once."""

    def __init__(self) -> None:
        self._sides: dict[tuple[str, bool], Likenesses] = {}

    def of(self, sql: Connection, dataset: str, *, is_test: bool) -> Likenesses:
        key = dataset, is_test
        if key not in self._sides:
            self._sides[key] = Likenesses()
            self._sides[key].add(read_sketches(sql, dataset, is_test=is_test))
        return self._sides[key]


def sketch_all(dataset: Dataset, found: Sequence[FoundSample]) -> dict[str, str]:
    """The sketches of samples by id; images as the first model that can read them sees them."""
    sketches = {each.sample_id: sketch(each.sample) for each in found if each.sample.image is None}
    images = [each for each in found if each.sample.image is not None]
    for learner in dataset.learners:
        if not images:
            break
        readable = list(zip(images, learner.recipe.faults([i.sample for i in images]), strict=True))
        good = [each for each, fault in readable if fault is None]
        if good:
            pixels = learner.recipe.read([each.sample for each in good])
            made = image_sketches(pixels)
            sketches.update({each.sample_id: one for each, one in zip(good, made, strict=True) if one})
        images = [each for each, fault in readable if fault is not None]
    return sketches


def note_likenesses(
    sql: Connection, dataset: str, sides: Sides, sketches: Mapping[str, str], *, is_test: bool, now: datetime
) -> int:
    """Write down the new samples' sketches and what they are like across the line; return how many pairs."""
    own, other = sides.of(sql, dataset, is_test=is_test), sides.of(sql, dataset, is_test=not is_test)
    near = other.near(sketches, is_test=is_test)
    add_sketches(sql, dataset, sketches, is_test=is_test)
    add_near(sql, dataset, near, now=now)
    own.add(sketches)
    return len(near)


def note_claims(
    sql: Connection,
    dataset: str,
    object_: StoredObject,
    arrivals: Sequence[FoundSample],
    rows: Sequence[SampleRow],
    now: datetime,
) -> int:
    """Write down every label that is another than the one the same id or content has; return how many.

    rows: of the arrivals those that are new, already added.
    """
    by_id = labels_by_id(sql, dataset, [each.sample_id for each in arrivals])
    by_content = labels_by_content(sql, dataset, [each.digest for each in arrivals])
    new = {row.sample_id for row in rows}
    claims = list(_claims(object_, arrivals, by_id, by_content, new, now))
    add_claims(sql, dataset, claims)
    return len(claims)


def _claims(
    object_: StoredObject,
    arrivals: Sequence[FoundSample],
    by_id: Mapping[str, str],
    by_content: Mapping[str, tuple[str, str]],
    new: set[str],
    now: datetime,
) -> Iterator[LabelClaim]:
    def claim(sample_id: str, label: str, claimed_id: str) -> LabelClaim:
        kept = by_id.get(sample_id, "")
        return LabelClaim(sample_id, kept, label, "", object_.name, claimed_id, now)

    for found in arrivals:
        said, mine = found.sample.label, by_id.get(found.sample_id)
        if mine is not None and mine != said:
            yield claim(found.sample_id, said, found.sample_id)
        first = by_content.get(found.digest)
        if first is not None and first[0] != found.sample_id and first[1] != said:
            yield claim(first[0], said, found.sample_id)
            if found.sample_id in new:
                yield claim(found.sample_id, first[1], first[0])


def answer_relabels(dataset: Dataset, registry: Registry, *, now: datetime) -> None:
    """Do what people decided on labels, each wish once."""
    with registry.read() as sql:
        wishes = open_wishes(sql, dataset.name, "relabel")
    for wish in wishes:
        with registry.write() as sql:
            try:
                label = _checked(dataset, wish.value)
                count = relabel(sql, dataset.name, wish.subject, label, now=now)
                result = f"{count} samples of this content are {label} now"
            except (InvalidInput, NotFound) as error:
                result = f"not done: {error}"
            answer_wish(sql, wish, result, now=now)
        log.info("label_decided", dataset=dataset.name, sample_id=wish.subject, by=wish.by, result=result)


def _checked(dataset: Dataset, label: str | None) -> str:
    known = {each for learner in dataset.learners for each in learner.spec.labels}
    if not label or (known and label not in known):
        raise InvalidInput(f"no model of {dataset.name} knows the label {label!r}")
    return label
