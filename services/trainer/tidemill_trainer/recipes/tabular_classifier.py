"""The recipe of kind `tabular_classifier`: rows of named columns to class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from tidemill_trainer.recipes.class_export import PROBABILITIES, class_answers
from tidemill_trainer.recipes.recipe import Score, Targets, classification_score, label_positions
from tidemill_trainer.recipes.runtime import tf
from tidemill_trainer.recipes.table_knowledge import Knowledge
from tidemill_trainer.recipes.table_recipe import TableRecipe


class TabularClassifier(TableRecipe):
    """See `TableRecipe`. One output per label; answers as `class_answers`."""

    output_name = PROBABILITIES

    @property
    def output_count(self) -> int:
        return len(self.spec.labels)

    def targets(self, labels: Sequence[str]) -> Targets:
        return label_positions(labels, self.spec.labels)

    def losses(self, targets: Any, outputs: Any, knowledge: Knowledge) -> Any:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs)

    def score_outputs(self, outputs: npt.NDArray[Any], targets: Targets, knowledge: Knowledge) -> Score:
        return classification_score(tf.nn.log_softmax(outputs).numpy(), targets)

    def answers(self, outputs: Any, knowledge: Knowledge) -> dict[str, Any]:
        return class_answers(outputs, self.spec.labels)
