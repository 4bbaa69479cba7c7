"""Who changed labels and traffic by hand, when, and why: one immutable object per change."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from pydantic import BaseModel, ConfigDict
from tidemill_contracts.layout import audit_prefix
from tidemill_contracts.manifest import Labels, dump_document, parse_document
from tidemill_contracts.objects import ABSENT, ObjectStore
from tidemill_contracts.rollout import Rollout

SHOWN_MAX = 100
CACHED_MAX = 1000


class Change(BaseModel):
    """One change, of labels (written by `tidemill_contracts.label_changes`) or of traffic.

    by: the caller's key, or its address where no keys are set up.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    by: str
    action: str
    model: str
    reason: str = ""
    labels_before: Labels | None = None
    labels_after: Labels | None = None
    rollout_before: Rollout | None = None
    rollout_after: Rollout | None = None

    def made_stable(self, version: int) -> bool:
        """Whether the change put `stable` on that version."""
        after, before = self.labels_after, self.labels_before
        return after is not None and after.stable == version and (before is None or before.stable != version)


class Audit:
    """Keeps changes in the store, beside the model."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[str, Change] = {}

    def write(self, change: Change) -> None:
        """Keep a change for ever.

        Raises:
            Unavailable: the store did not answer.
        """
        name = f"{audit_prefix(change.model)}{change.at.astimezone(UTC):%Y%m%dT%H%M%S.%f}-{uuid4().hex}.json"
        self._store.put(name, dump_document(change), if_generation=ABSENT)

    def latest(self, model: str, changes_max: int = SHOWN_MAX) -> list[Change]:
        """The last changes of a model, newest first."""
        names = sorted((info.name for info in self._store.list(audit_prefix(model))), reverse=True)
        return [self._read(name) for name in names[:changes_max]]

    def promotion(self, model: str, version: int) -> Change | None:
        """The last change that made a version `stable`; None where none did by hand."""
        found = (change for change in self.latest(model) if change.made_stable(version))
        return next(found, None)

    def _read(self, name: str) -> Change:
        change = self._known.get(name)
        if change is None:
            if len(self._known) >= CACHED_MAX:
                self._known.clear()
            change = self._known[name] = parse_document(Change, self._store.get(name), name)
        return change
