"""What a kind of model must be able to do. Knows no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tidemill_contracts.golden import Golden
from tidemill_contracts.samples import Sample

Weights = list[npt.NDArray[Any]]
"""What training learned, in an order of the recipe's own: the layers' weights and, where the kind has them,
vocabularies and the like as arrays of fixed-width text or bytes. Never an array of Python objects."""
LOSS_MAX = math.log(10)
"""Nats that one sample counts at most where models are chosen by their loss: a label that was given less than
a tenth is missed, and no more. Else few samples, with a wrong label, decide between models that have nearly
all others right."""
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float64]
"""int64[N]: positions in the model's labels. float64[N]: what a regression should say."""
State = Mapping[str, npt.NDArray[Any]]
"""Everything that training needs to go on from the end of an epoch, in arrays."""


@dataclass(frozen=True, eq=False)
class Examples:
    """N samples as the recipe reads them.

    inputs: any[N, ...], such as uint8[N, height, width, channels]; may lie in a file (`numpy.memmap`), so
    take the rows of one batch at a time. Text: object[N] of bytes. Rows: a structured array.
    """

    inputs: npt.NDArray[Any]
    targets: Targets

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, places: npt.NDArray[np.int64]) -> Examples:
        """These rows, in this order."""
        return Examples(self.inputs[places], self.targets[places])


@dataclass(frozen=True, eq=False)
class Score:
    """How a model did on N samples, one by one.

    merits: float64[N]. Classifiers: 1 where the answer was right, else 0. Regression: 1 − squared error /
        variance of the targets. Their mean is the accuracy, of a regression R².
    losses: float64[N], in nats; of a regression the squared error.
    predicted: int64[N] positions in the labels, or float64[N] values.
    """

    merits: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    predicted: Targets

    @property
    def accuracy(self) -> float:
        return float(self.merits.mean())

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    @property
    def bounded_losses(self) -> npt.NDArray[np.float64]:
        """float64[N]: of a classification at most LOSS_MAX each; of a regression, in its own units, whole."""
        return self.losses if self.predicted.dtype.kind == "f" else np.minimum(self.losses, LOSS_MAX)

    @property
    def bounded_loss(self) -> float:
        """What models are chosen by."""
        return float(self.bounded_losses.mean())

    @property
    def measures(self) -> dict[str, float]:
        """Accuracy and loss by name, for logs and cards."""
        return {"accuracy": self.accuracy, "loss": self.loss}


class Watch(Protocol):
    """Whom training tells how far it is, who may stop it by raising, and who keeps its state."""

    def step(self) -> None:
        """Called before every batch."""
        ...

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        """Called after every epoch; the first is number 1."""
        ...

    def keep(self, state: State) -> None:
        """Called after every epoch with all that is needed to go on from there."""
        ...

    def kept(self) -> State | None:
        """The state that the same training kept before it was killed; None to begin at the beginning."""
        ...


class Recipe(Protocol):
    """Turns samples into tensors, trains, measures and exports models of one YAML.

    The same arguments give the same results, on one machine, whatever was called before.
    """

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        """For each sample, why its content cannot be read; None where it can. Labels are looked at by others,
        where the YAML lists them; a regression looks at its own."""
        ...

    def read(self, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        """The samples as inputs, read exactly as the exported model reads a client's.

        Of one sample always the same, whichever others are read beside it: dtype, shape and content.

        Raises:
            InvalidInput: one cannot be read.
        """
        ...

    def targets(self, labels: Sequence[str]) -> Targets:
        """The labels as numbers. Classifiers: `label_positions`."""
        ...

    def train(
        self, start: Weights | None, train: Examples, tuning: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        """The weights of the epoch with the best loss on `tuning`, which trains nothing and gates nothing.

        start: None to begin from nothing. Killed and called again with a watch that kept its state, it ends
        with the same weights.
        """
        ...

    def score(self, weights: Weights, examples: Examples) -> Score:
        """Measure weights on examples."""
        ...

    def fits(self, weights: Weights) -> bool:
        """Whether training may start from the weights: whether they are of this recipe's model."""
        ...

    def golden(self, weights: Weights, samples: Sequence[Sample]) -> Golden:
        """What the exported model must answer to these samples, as training's own code computes it."""
        ...

    def export(self, weights: Weights, folder: Path) -> None:
        """Write a SavedModel with its serving signatures into the folder."""
        ...


def label_positions(labels: Sequence[str], known: Sequence[str]) -> npt.NDArray[np.int64]:
    """int64[N]: where each label stands among those that the model knows."""
    places = {label: place for place, label in enumerate(known)}
    return np.array([places[label] for label in labels], np.int64)


def classification_score(
    log_probabilities: npt.NDArray[Any], targets: npt.NDArray[np.int64] | npt.NDArray[np.float64]
) -> Score:
    """The score of float[N, classes] log probabilities: right or wrong, and cross-entropy in nats."""
    wanted = targets.astype(np.int64)
    predicted = log_probabilities.argmax(axis=1).astype(np.int64)
    losses = -log_probabilities[np.arange(len(wanted)), wanted].astype(np.float64)
    return Score((predicted == wanted).astype(np.float64), losses, predicted)


def regression_score(predicted: npt.NDArray[Any], targets: Targets) -> Score:
    """The score of float[N] values: 1 − squared error / variance of the targets, and squared error."""
    said = predicted.astype(np.float64)
    errors = (said - targets) ** 2
    variance = float(np.var(targets)) or 1.0
    return Score(1.0 - errors / variance, errors, said)
