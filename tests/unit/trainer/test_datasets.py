"""Datasets: models that share one must agree, and a sample is good if one of them can use it."""

from __future__ import annotations

from typing import Any

import pytest
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.samples import Sample, Scalar
from tidemill_trainer.datasets import Learner, datasets_of


def test_models_of_one_dataset_must_agree_on_the_share_that_validates(world: Any) -> None:
    other = world.spec.model_copy(
        update={"name": "other", "split": world.spec.split.model_copy(update={"validation_percent": 5})}
    )

    with pytest.raises(InvalidInput, match="30 and 5"):
        datasets_of([world.learner, Learner(other, world.recipe)])


def test_a_sample_is_usable_if_one_model_of_its_dataset_knows_its_label(world: Any) -> None:
    other = world.spec.model_copy(update={"name": "other", "labels": ("up", "down")})
    dataset = datasets_of([world.learner, Learner(other, world.recipe)])["points"]
    row: dict[str, Scalar] = {"x": 0, "y": 0}

    found = dataset.faults([Sample(label=label, row=row) for label in ("left", "up", "sideways")])

    assert found == [None, None, "unknown label 'sideways'"]
