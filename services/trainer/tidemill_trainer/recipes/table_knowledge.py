"""What a table model has seen: moments of its numbers and targets, and the categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tidemill_contracts.model_spec import Column

from tidemill_trainer.recipes.recipe import Examples, Weights
from tidemill_trainer.recipes.table_reading import CATEGORY_BYTES_MAX

CATEGORIES_MAX = 2000
"""Of all columns together; what comes later is answered as unknown."""
ARRAYS = 4
"""How many arrays of a model's weights are its knowledge."""
_SPREAD_MIN = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Grows with every round, and never forgets.

    numbers: float64[3, number columns]: how many values, their mean, their summed squared distance from it.
    categories: bytes[K], in the order in which they came. owners: int64[K], which category column each is of.
    targets: float64[3], as `numbers`; of a regression.
    """

    numbers: Floats
    categories: npt.NDArray[np.bytes_]
    owners: npt.NDArray[np.int64]
    targets: Floats

    @classmethod
    def empty(cls, columns: Sequence[Column]) -> Knowledge:
        number_count = len(of_type(columns, "number"))
        none = np.array([], f"S{CATEGORY_BYTES_MAX}")
        return cls(np.zeros((3, number_count)), none, np.array([], np.int64), np.zeros(3))

    @classmethod
    def of(cls, weights: Weights) -> Knowledge:
        return cls(*weights[:ARRAYS])

    def arrays(self) -> Weights:
        return [self.numbers, self.categories, self.owners, self.targets]

    def grown(self, columns: Sequence[Column], train: Examples) -> Knowledge:
        """With what these examples show. A category joins with its first row, the frequent ones first."""
        numbers = self.numbers
        names = of_type(columns, "number")
        if names:
            numbers = merge(numbers, np.stack([moments(train.inputs[name]) for name in names], axis=1))
        known = set(zip(self.owners.tolist(), self.categories.tolist(), strict=True))
        counts: Counter[tuple[int, bytes]] = Counter()
        for owner, name in enumerate(of_type(columns, "category")):
            counts.update((owner, value) for value in train.inputs[name].tolist())
        new = sorted((-count, *each) for each, count in counts.items() if each not in known)
        joined = new[: max(0, CATEGORIES_MAX - len(known))]
        return Knowledge(
            numbers,
            np.concatenate(
                [self.categories, np.array([value for *_, value in joined], self.categories.dtype)]
            ),
            np.concatenate([self.owners, np.array([owner for _, owner, _ in joined], np.int64)]),
            merge(self.targets, moments(train.targets)),
        )

    @property
    def centre(self) -> Floats:
        """float64[number columns]: their means."""
        means: Floats = self.numbers[1]
        return means

    @property
    def spread(self) -> Floats:
        """float64[number columns]: their standard deviations; 1 where nothing varies."""
        return spread(self.numbers)


def of_type(columns: Sequence[Column], type_: str) -> list[str]:
    """The names of the columns of a type, in order."""
    return [column.name for column in columns if column.type == type_]


def moments(values: npt.NDArray[np.floating] | npt.NDArray[np.int64]) -> Floats:
    """float64[3]: count, mean and summed squared distance from it, of what is a number."""
    real = values[np.isfinite(values)].astype(np.float64)
    mean = real.mean() if len(real) else 0.0
    return np.array([len(real), mean, ((real - mean) ** 2).sum()])


def merge(a: Floats, b: Floats) -> Floats:
    """The moments of the values behind `a` and `b` together; the pairwise update of Chan, Golub & LeVeque."""
    count = a[0] + b[0]
    share = b[0] / np.maximum(count, 1)
    delta = b[1] - a[1]
    merged: Floats = np.stack([count, a[1] + delta * share, a[2] + b[2] + delta**2 * a[0] * share])
    return merged


def spread(found: Floats) -> Floats:
    """Standard deviations of moments; 1 where nothing varies."""
    deviations = np.sqrt(found[2] / np.maximum(found[0], 1))
    steady = deviations <= _SPREAD_MIN * np.maximum(1.0, np.abs(found[1]))
    chosen: Floats = np.where(steady, 1.0, deviations)
    return chosen
