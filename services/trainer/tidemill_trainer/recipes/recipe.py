"""What a kind of model must be able to do. Knows no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tidemill_contracts.golden import Golden
from tidemill_contracts.samples import Sample

Weights = list[npt.NDArray[Any]]
"""A model's weights in the order of its layers."""


@dataclass(frozen=True)
class Examples:
    """N samples as the recipe reads them.

    inputs: any[N, ...], such as uint8[N, height, width, channels].
    targets: int64[N], positions in the model's labels.
    """

    inputs: npt.NDArray[Any]
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Score:
    """How a model did. accuracy: share of right answers. loss: mean cross-entropy, in nats."""

    accuracy: float
    loss: float


class Watch(Protocol):
    """Whom training tells how far it is, and who may stop it by raising."""

    def step(self) -> None:
        """Called before every batch."""
        ...

    def epoch(self, number: int, validation: Score) -> None:
        """Called after every epoch; the first is number 1."""
        ...


class Recipe(Protocol):
    """Turns samples into tensors, trains, measures and exports models of one YAML.

    The same arguments give the same results, on one machine, whatever was called before.
    """

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        """For each sample, why it cannot be read; None where it can."""
        ...

    def read(self, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        """The samples as inputs, read exactly as the exported model reads a client's.

        Raises:
            InvalidInput: one cannot be read.
        """
        ...

    def train(
        self, start: Weights | None, train: Examples, validation: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        """The weights of the epoch with the best validation loss. start: None to begin from nothing."""
        ...

    def score(self, weights: Weights, examples: Examples) -> Score:
        """Measure weights on examples."""
        ...

    def fits(self, weights: Weights) -> bool:
        """Whether the weights have the shapes of this recipe's model."""
        ...

    def golden(self, weights: Weights, samples: Sequence[Sample]) -> Golden:
        """What the exported model must answer to these samples, as training's own code computes it."""
        ...

    def export(self, weights: Weights, folder: Path) -> None:
        """Write a SavedModel with its serving signatures into the folder."""
        ...
