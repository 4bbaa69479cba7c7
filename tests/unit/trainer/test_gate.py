"""The gate: what is published, and why not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tidemill_trainer.gate import Decision, decide
from tidemill_trainer.recipes.recipe import Score


def score(accuracy: float, loss: float = 0.3, count: int = 1000) -> Score:
    merits = np.full(count, accuracy)
    return Score(merits, np.full(count, loss), np.zeros(count, np.int64))


def gate(challenger: float, champion: float | None, *, gain_min: float = 0.01, count: int = 1000) -> Decision:
    return decide(
        challenger=score(challenger),
        champion=None if champion is None else score(champion),
        sample_count=count,
        majority_share=0.5,
        gain_min=gain_min,
    )


@pytest.mark.parametrize(
    ("challenger", "champion", "promoted"),
    [(0.92, 0.90, True), (0.91, 0.90, True), (0.909, 0.90, False), (0.90, 0.90, False), (0.8, 0.9, False)],
)
def test_a_challenger_must_be_better_by_the_gain(challenger: float, champion: float, promoted: bool) -> None:
    assert gate(challenger, champion).promote is promoted


def test_a_gain_of_nothing_lets_an_equal_challenger_through() -> None:
    assert gate(0.9, 0.9, gain_min=0.0).promote


def test_a_first_version_must_beat_guessing_beyond_chance() -> None:
    assert not gate(0.5, None).promote
    assert not gate(0.53, None).promote
    assert gate(0.54, None).promote


def test_with_few_samples_a_first_version_must_beat_guessing_by_more() -> None:
    assert not gate(0.7, None, count=10).promote
    assert gate(0.9, None, count=10).promote


@pytest.mark.parametrize("measured", [(math.nan, 0.1), (0.9, math.nan), (0.9, math.inf)])
def test_a_score_that_is_not_a_number_is_refused(measured: tuple[float, float]) -> None:
    decision = decide(
        challenger=score(*measured), champion=None, sample_count=9, majority_share=0.1, gain_min=0
    )

    assert not decision.promote
    assert "diverged" in decision.reason


def test_the_reason_names_both_scores_and_the_samples() -> None:
    assert gate(0.92, 0.90).reason == "accuracy rose from 0.9000 to 0.9200 on 1000 validation samples"
    assert gate(0.90, 0.90).reason == (
        "accuracy 0.9000 is not 0.01 above the champion's 0.9000 on 1000 validation samples"
    )
