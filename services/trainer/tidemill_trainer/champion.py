"""The champion: the newest published version that serving did not refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill_contracts.errors import Corrupt, NotFound
from tidemill_contracts.layout import MODEL_CARD, manifest_name, version_prefix
from tidemill_contracts.manifest import Manifest, ModelCard, parse_document, read_labels
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.objects import ObjectStore

from tidemill_trainer import weights as weights_file
from tidemill_trainer.datasets import Learner
from tidemill_trainer.recipes.recipe import Weights


@dataclass(frozen=True)
class Champion:
    """A version to train on from and to be better than. reference: what its card says of training's data."""

    version: int
    weights: Weights
    reference: Mapping[str, Any] = field(default_factory=dict)


def champion_version(store: ObjectStore, model: str) -> int | None:
    """The candidate while serving has not refused it, else the stable version; None before the first.

    Raises:
        Corrupt: the labels cannot be read.
        Unavailable: the store did not answer.
    """
    labels, _ = read_labels(store, model)
    return labels.candidate or labels.stable


def load_champion(learner: Learner, store: ObjectStore, version: int) -> Champion | None:
    """The version with its weights; None if it was made for other labels or another input.

    A model whose YAML gives it other labels begins a new line: its old weights mean something else.

    Raises:
        Corrupt: the version is not whole, or not what its manifest says.
        Unavailable: the store did not answer.
    """
    model = learner.spec.name
    try:
        name = manifest_name(model, version)
        manifest = parse_document(Manifest, store.get(name), name)
        card = parse_document(ModelCard, _verified(store, manifest, MODEL_CARD), MODEL_CARD)
        weights = weights_file.load_weights(_verified(store, manifest, weights_file.PATH), name)
    except NotFound as error:
        raise Corrupt(f"version {version} of {model} is not whole: {error}") from error
    same = (card.kind, card.labels, card.further.get("input")) == signature_of(learner.spec)
    if not same or not learner.recipe.fits(weights):
        return None
    return Champion(version, weights, card.further.get("reference") or {})


def signature_of(spec: ModelSpec) -> tuple[str, tuple[str, ...], object]:
    """What must be equal for the weights of one version to mean the same in another."""
    return spec.kind, spec.labels, spec.input.model_dump(mode="json") if spec.input else None


def _verified(store: ObjectStore, manifest: Manifest, path: str) -> bytes:
    listed = next((file for file in manifest.files if file.path == path), None)
    name = version_prefix(manifest.model, manifest.version) + path
    if listed is None:
        raise Corrupt(f"{name} is not in the manifest")
    data = store.get(name)
    if hashlib.sha256(data).hexdigest() != listed.sha256:
        raise Corrupt(f"{name} is not what its manifest says")
    return data
