"""Promotion and rollback by label: one call each, over a known generation, with a record of who and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, StringConstraints

from tidemill_contracts.errors import Conflict, InvalidInput, NotFound
from tidemill_contracts.layout import audit_prefix, manifest_name
from tidemill_contracts.manifest import (
    LABEL_CHANGES_MAX,
    Labels,
    dump_document,
    parse_document,
    read_labels,
    write_labels,
)
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import Name

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Action = Literal["promote", "rollback"]
ACTIONS = frozenset(get_args(Action))


class LabelChange(BaseModel):
    """One change of a model's labels: what was asked, by whom, over which generation.

    The record is written before the labels are, so that no change goes unrecorded; one that was overtaken
    takes its record back. `over_generation` tells which of two records came first.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    by: Text
    action: Action
    model: Name
    reason: str = ""
    over_generation: int
    labels_before: Labels
    labels_after: Labels


def promote(store: ObjectStore, model: str, version: int, *, by: str, reason: str = "") -> LabelChange:
    """Make the version stable, whatever it was; what was stable becomes previous.

    Raises:
        NotFound: the version has no manifest.
        Conflict: others changed the labels LABEL_CHANGES_MAX times meanwhile.
    """
    store.stat(manifest_name(model, version))
    return _change(store, model, "promote", lambda labels: labels.promote(version), by=by, reason=reason)


def rollback(store: ObjectStore, model: str, *, by: str, reason: str = "") -> LabelChange:
    """Make the previous version stable again; what was stable becomes previous.

    Raises:
        InvalidInput: there is no previous version.
        Conflict: others changed the labels LABEL_CHANGES_MAX times meanwhile.
    """

    def swap(labels: Labels) -> Labels:
        if labels.previous is None:
            raise InvalidInput(f"{model} has no previous version to go back to", field="previous")
        return labels.promote(labels.previous)

    return _change(store, model, "rollback", swap, by=by, reason=reason)


def promote_candidate(
    store: ObjectStore, model: str, version: int, *, by: str, reason: str = ""
) -> LabelChange:
    """Make the version stable if it still is the candidate; otherwise change nothing and record nothing.

    Raises:
        Conflict: others changed the labels LABEL_CHANGES_MAX times meanwhile.
    """

    def change(labels: Labels) -> Labels:
        return labels.promote(version) if labels.candidate == version else labels

    return _change(store, model, "promote", change, by=by, reason=reason)


def changes(store: ObjectStore, model: str) -> list[LabelChange]:
    """Every recorded change of a model's labels, oldest first; changes of traffic lie beside them."""
    found: list[LabelChange] = []
    for info in store.list(audit_prefix(model)):
        try:
            raw = store.get(info.name)
        except NotFound:
            continue  # taken back while we read
        if parse_document(_Record, raw, info.name).action in ACTIONS:
            found.append(parse_document(LabelChange, raw, info.name))
    return sorted(found, key=lambda change: change.over_generation)


class _Record(BaseModel):
    """What every record of the audit has."""

    action: str


def _change(
    store: ObjectStore,
    model: str,
    action: Action,
    decide: Callable[[Labels], Labels],
    *,
    by: str,
    reason: str,
) -> LabelChange:
    for _ in range(LABEL_CHANGES_MAX):
        labels, generation = read_labels(store, model)
        at = datetime.now(UTC)
        change = LabelChange(
            at=at,
            by=by,
            action=action,
            reason=reason,
            model=model,
            over_generation=generation,
            labels_before=labels,
            labels_after=decide(labels),
        )
        if change.labels_after == labels:
            return change
        name = f"{audit_prefix(model)}{at:%Y%m%dT%H%M%S.%f}-{uuid4().hex[:8]}.json"
        store.put(name, dump_document(change))
        try:
            write_labels(store, model, change.labels_after, over_generation=generation)
        except Conflict:
            store.delete(name)
            continue
        return change
    raise Conflict(f"the labels of {model} changed {LABEL_CHANGES_MAX} times while they were being changed")
