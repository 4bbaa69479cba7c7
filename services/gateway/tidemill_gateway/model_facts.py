"""What the store tells about a model's versions: when each was made, from what, and how good it is."""

from __future__ import annotations

from typing import Any

import orjson
from tidemill_contracts.errors import Corrupt, NotFound
from tidemill_contracts.layout import MANIFEST, manifest_name, model_card_name, model_prefix
from tidemill_contracts.manifest import Manifest, parse_document
from tidemill_contracts.objects import ObjectStore

VERSIONS_CACHED_MAX = 1024


class ModelFacts:
    """Reads manifests and model cards. They never change, so each is read once."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[tuple[str, int], dict[str, Any]] = {}

    def versions(self, model: str) -> list[int]:
        """The versions of which the store has a manifest: those that are whole."""
        prefix = model_prefix(model)
        found = []
        for info in self._store.list(prefix):
            folder, _, rest = info.name[len(prefix) :].partition("/")
            if rest == MANIFEST and folder.isdigit():
                found.append(int(folder))
        return found

    def of(self, model: str, version: int) -> dict[str, Any]:
        """The facts of one version; empty where the store has none of it.

        Raises:
            Unavailable: the store did not answer.
        """
        known = self._known.get((model, version))
        if known is not None:
            return known
        try:
            facts = self._read(model, version)
        except NotFound:
            return {}
        except Corrupt as error:
            return {"fault": str(error)}
        if len(self._known) >= VERSIONS_CACHED_MAX:
            self._known.clear()
        self._known[model, version] = facts
        return facts

    def _read(self, model: str, version: int) -> dict[str, Any]:
        name = manifest_name(model, version)
        manifest = parse_document(Manifest, self._store.get(name), name)
        facts: dict[str, Any] = {
            "created_at": manifest.created_at.isoformat(),
            "round_id": manifest.round_id,
            "parent_version": manifest.parent_version,
            "digest": manifest.digest,
            "size_bytes": sum(file.size_bytes for file in manifest.files),
        }
        name = model_card_name(model, version)
        try:
            described = _read_card(self._store.get(name))
        except NotFound:
            return facts
        except ValueError as error:
            return {**facts, "fault": f"{name} is no model card: {error}"}
        return {**described, **facts}


def _read_card(data: bytes) -> dict[str, Any]:
    """All that a card says, whatever the trainer of its time put on it; raises ValueError if it is none."""
    card = orjson.loads(data)
    if not isinstance(card, dict):
        raise ValueError("it is not a JSON object")
    classes = card.pop("labels", [])  # `labels` are what versions bear
    for name in ("model", "version"):
        card.pop(name, None)
    return {**card, "classes": classes}
