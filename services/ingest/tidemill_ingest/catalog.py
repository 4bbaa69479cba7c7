"""What the models of each dataset expect of a sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ImageInput, ModelSpec
from tidemill_contracts.samples import Sample

CONTENT_OF_KIND = {
    "image_classifier": "image",
    "text_classifier": "text",
    "tabular_classifier": "row",
    "tabular_regressor": "row",
}
NAMED_MAX = 20
"""So many labels or datasets are listed in an answer; more would hide the sentence."""


@dataclass(frozen=True)
class Expectation:
    """What a dataset's samples must be.

    labels: those that at least one of its models knows; None if no model trains on it, or one takes numbers.
    contents: which of image, text and row its models read; empty if that is not known.
    image: the size that all of its models want; None if they differ or there is none.
    """

    dataset: str
    labels: frozenset[str] | None = None
    contents: frozenset[str] = frozenset()
    image: ImageInput | None = None

    def check(self, sample: Sample, field: str) -> None:
        """Return if the sample's label and kind of content are expected.

        Raises:
            InvalidInput: they are not; the text says what is.
        """
        if self.labels is not None and sample.label not in self.labels:
            raise InvalidInput(
                f"{field}.label: {sample.label!r} is no label of dataset {self.dataset}; "
                f"it knows {listed(self.labels)}",
                field=f"{field}.label",
            )
        content = content_name(sample)
        if self.contents and content not in self.contents:
            raise InvalidInput(
                f"{field}.{content}: dataset {self.dataset} takes {listed(self.contents)}, not {content}",
                field=f"{field}.{content}",
            )


class Catalog:
    """The expectations of all datasets that models train on."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        models: dict[str, list[ModelSpec]] = {}
        for spec in specs:
            models.setdefault(spec.dataset, []).append(spec)
        self._known = {dataset: _expectation(dataset, found) for dataset, found in models.items()}

    def of(self, dataset: str) -> Expectation:
        """What samples of the dataset must be: anything, if no model trains on it."""
        return self._known.get(dataset, Expectation(dataset))

    def name(self, dataset: str) -> str:
        """The dataset as a metric names it: strangers must not make metrics without end."""
        return dataset if dataset in self._known else "other"

    def warnings(self, dataset: str) -> list[str]:
        """What the sender should know, though nothing is wrong."""
        if dataset in self._known:
            return []
        return [f"no model trains on dataset {dataset}; known: {listed(self._known)}"]


def _expectation(dataset: str, models: list[ModelSpec]) -> Expectation:
    contents = {CONTENT_OF_KIND.get(model.kind) for model in models}
    inputs = {model.input if isinstance(model.input, ImageInput) else None for model in models}
    is_open = any(not model.labels for model in models)
    return Expectation(
        dataset=dataset,
        labels=None if is_open else frozenset(label for model in models for label in model.labels),
        contents=frozenset(name for name in contents if name) if None not in contents else frozenset(),
        image=inputs.pop() if len(inputs) == 1 else None,
    )


def content_name(sample: Sample) -> str:
    """Which of image, text and row the sample is."""
    return "image" if sample.image is not None else "text" if sample.text is not None else "row"


def listed(names: Iterable[str]) -> str:
    """The names for a sentence, numbers in their order, cut when there are many."""
    ordered = sorted(names, key=lambda name: (not name.isdecimal(), len(name) * name.isdecimal(), name))
    more = f" and {len(ordered) - NAMED_MAX} more" if len(ordered) > NAMED_MAX else ""
    return ", ".join(ordered[:NAMED_MAX]) + more
