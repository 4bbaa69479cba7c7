"""Whether a gain may be chance: tests on pairs, for both models answered the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
RESAMPLED_AT_ONCE = 2_000_000
"""Places drawn at once: 16 MB."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """A test's name and its one-sided p-value: how often chance alone would give such a gain.

    gained, lost: samples that only the challenger, only the champion had right; None without right and wrong.
    """

    test: str
    p_value: float
    gained: int | None = None
    lost: int | None = None


def compare(challenger: Floats, champion: Floats, *, seed: int) -> Paired:
    """The exact McNemar test where merits are 0 or 1, else the bootstrap of paired differences."""
    if np.isin(challenger, (0.0, 1.0)).all() and np.isin(champion, (0.0, 1.0)).all():
        gained = int(np.sum(challenger > champion))
        lost = int(np.sum(challenger < champion))
        return Paired("exact McNemar", mcnemar_p(gained, lost), gained, lost)
    return Paired("paired bootstrap", bootstrap_p(challenger - champion, seed=seed))


def mcnemar_p(gained: int, lost: int) -> float:
    """P(X ≥ gained), X binomial(gained + lost, 1/2): McNemar, Psychometrika 12 (1947), exact, one-sided."""
    count = gained + lost
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)
        for k in range(gained, count + 1)
    ]
    return min(1.0, math.fsum(math.exp(each) for each in logs))


def bootstrap_p(differences: Floats, *, seed: int) -> float:
    """The share of RESAMPLES resampled means that are not above 0; never quite 0."""
    random, count = np.random.default_rng(seed), len(differences)
    at_once, not_above, done = max(1, RESAMPLED_AT_ONCE // count), 0, 0
    while done < RESAMPLES:
        some = min(at_once, RESAMPLES - done)
        means = differences[random.integers(0, count, (some, count))].mean(axis=1)
        not_above += int(np.sum(means <= 0))
        done += some
    return (not_above + 1) / (RESAMPLES + 1)
