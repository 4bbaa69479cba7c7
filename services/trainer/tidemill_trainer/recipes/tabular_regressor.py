"""The recipe of kind `tabular_regressor`: rows of named columns to a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.samples import Sample

from tidemill_trainer.recipes.recipe import Score, Targets, regression_score
from tidemill_trainer.recipes.runtime import tf
from tidemill_trainer.recipes.table_knowledge import Knowledge
from tidemill_trainer.recipes.table_network import target_scale
from tidemill_trainer.recipes.table_recipe import TableRecipe

LABEL_MAX = 1e30
"""Squares of larger ones leave the floats in which training reckons."""


class TabularRegressor(TableRecipe):
    """See `TableRecipe`. Labels are decimal numbers; answers `value` float32[batch]."""

    output_name = "value"

    @property
    def output_count(self) -> int:
        return 1

    def fault(self, sample: Sample) -> str | None:
        if not abs(_number(sample.label)) <= LABEL_MAX:
            return f"label {sample.label!r} is not a number of at most {LABEL_MAX:g}"
        return super().fault(sample)

    def targets(self, labels: Sequence[str]) -> Targets:
        return np.array([_number(label) for label in labels], np.float64)

    def losses(self, targets: Any, outputs: Any, knowledge: Knowledge) -> Any:
        centre, width = target_scale(knowledge)
        return tf.square(tf.cast((targets - centre) / width, tf.float32) - outputs[:, 0])

    def score_outputs(self, outputs: npt.NDArray[Any], targets: Targets, knowledge: Knowledge) -> Score:
        centre, width = target_scale(knowledge)
        return regression_score(centre + width * outputs[:, 0].astype(np.float64), targets)

    def answers(self, outputs: Any, knowledge: Knowledge) -> dict[str, Any]:
        centre, width = target_scale(knowledge)
        return {self.output_name: outputs[:, 0] * width + centre}


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return math.nan
