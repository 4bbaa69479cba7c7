"""Which models learn from which dataset, and what a sample must be for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample

from tidemill_trainer.recipes.recipe import Recipe


@dataclass(frozen=True)
class Learner:
    """A model's YAML with its recipe."""

    spec: ModelSpec
    recipe: Recipe


@dataclass(frozen=True)
class Dataset:
    """A dataset and the models that learn from it; at least one."""

    name: str
    validation_percent: int
    learners: tuple[Learner, ...]

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        """For each sample, why no model of the dataset can use it; None where one can."""
        found: list[str | None] = ["no model"] * len(samples)
        for learner in self.learners:
            left = [index for index, fault in enumerate(found) if fault is not None]
            for index, fault in zip(left, _faults(learner, [samples[i] for i in left]), strict=True):
                found[index] = fault
        return found


def datasets_of(learners: Iterable[Learner]) -> Mapping[str, Dataset]:
    """The datasets by name.

    Raises:
        InvalidInput: two models of one dataset want another share of validation samples. A sample has one
            role for all models, so they must agree.
    """
    found: dict[str, Dataset] = {}
    for learner in learners:
        spec = learner.spec
        percent = spec.split.validation_percent
        known = found.setdefault(spec.dataset, Dataset(spec.dataset, percent, ()))
        if known.validation_percent != percent:
            said = f"the models of dataset {spec.dataset} must agree on validation_percent"
            raise InvalidInput(f"{said}: {known.validation_percent} and {percent}", field="split")
        found[spec.dataset] = Dataset(spec.dataset, percent, (*known.learners, learner))
    return found


def _faults(learner: Learner, samples: Sequence[Sample]) -> list[str | None]:
    labels = set(learner.spec.labels)
    unknown = [
        None if not labels or sample.label in labels else f"unknown label {sample.label!r}"
        for sample in samples
    ]
    readable = [index for index, fault in enumerate(unknown) if fault is None]
    found: list[str | None] = list(unknown)
    for index, fault in zip(readable, learner.recipe.faults([samples[i] for i in readable]), strict=True):
        found[index] = fault
    return found
