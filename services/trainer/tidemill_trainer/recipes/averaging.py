"""Averages of a network's weights: over the last quarter of its way, and of its beginning and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill_trainer.recipes.recipe import Weights

EVERY_STEPS = 16
"""Reading the weights after every step would cost more than it gives."""
SHARE_MIN = 0.05
"""Of the newest weights: over 77 readings, 1,232 steps, the average looks no further back."""
_EARLY = 3.0


class Average:
    """A running mean in which the newest weights count most.

    The n-th reading has the share (1 + 3) / (n + 3), so that the beginning is soon forgotten: the
    polynomial-decay averaging of Shamir & Zhang (ICML 2013), with a floor.
    """

    def __init__(self) -> None:
        self.weights: Weights = []
        self._readings = 0

    def add(self, weights: Weights) -> None:
        """Let these weights count; whole numbers are taken as they are."""
        self._readings += 1
        share = max(SHARE_MIN, (1 + _EARLY) / (self._readings + _EARLY))
        self.weights = [
            mine + (new - mine) * np.asarray(share, new.dtype) if new.dtype.kind == "f" else new
            for mine, new in zip(self.weights or weights, weights, strict=True)
        ]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `restore` needs."""
        named = {f"average_{index}": array for index, array in enumerate(self.weights)}
        return {"average_readings": np.array(self._readings), **named}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state of the same network."""
        count = sum(name.startswith("average_") for name in state) - 1
        self.weights = [state[f"average_{index}"] for index in range(count)]
        self._readings = int(state["average_readings"])


def between(start: Weights, end: Weights, share: float) -> Weights:
    """Weights on the straight way from `end` back to `start`, `share` of it; whole numbers are the end's.

    What was fine-tuned is often best somewhere on the way (Wortsman et al., "Robust fine-tuning of zero-shot
    models", CVPR 2022).
    """
    return [
        new + (old - new) * np.asarray(share, new.dtype) if new.dtype.kind == "f" else new
        for old, new in zip(start, end, strict=True)
    ]
