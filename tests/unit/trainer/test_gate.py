"""The gate: what is published, and why not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tidemill_contracts.model_spec import GateSpec
from tidemill_registry.records import SampleRow
from tidemill_trainer.gate import Decision, Evidence, decide
from tidemill_trainer.gate.guards import agreement, leaked
from tidemill_trainer.gate.metrics import compare_by
from tidemill_trainer.gate.significance import bootstrap_p, compare, mcnemar_p
from tidemill_trainer.recipes.recipe import Score


def score(accuracy: float, loss: float = 0.3, count: int = 1000) -> Score:
    """The first of `count` samples are right, the others wrong."""
    merits = (
        (np.arange(count) < round(accuracy * count)).astype(float) if accuracy == accuracy else [accuracy]
    )
    return Score(np.array(merits), np.full(count, loss), np.zeros(count, np.int64))


def halves(count: int) -> npt.NDArray[np.int64]:
    return np.arange(count) % 2


def gate(
    challenger: float,
    champion: float | None,
    *,
    gain_min: float = 0.01,
    count: int = 1000,
    significance: float = 1.0,
    **further: Any,
) -> Decision:
    evidence = Evidence(
        challenger=score(challenger, count=count),
        champion=None if champion is None else score(champion, count=count),
        targets=halves(count),
        weights=[],
        labels=("even", "odd"),
        seed=1,
    )
    return decide(evidence, GateSpec(gain_min=gain_min, significance=significance, **further))


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
def test_a_score_that_is_not_a_number_is_refused_whoever_asks(measured: tuple[float, float]) -> None:
    evidence = Evidence(score(*measured, count=10), None, halves(10), [], ("even", "odd"), 1)

    decision = decide(evidence, GateSpec())

    assert (decision.promote, decision.flawed) == (False, True)
    assert "diverged" in decision.reason


def test_weights_that_are_not_numbers_are_refused() -> None:
    evidence = Evidence(score(1.0), None, halves(1000), [np.array([math.nan])], ("even", "odd"), 1)

    assert decide(evidence, GateSpec()).flawed


@pytest.mark.parametrize("targets", [np.zeros(0, np.int64), np.zeros(50, np.int64)])
def test_an_empty_or_one_class_validation_decides_nothing(targets: npt.NDArray[np.int64]) -> None:
    evidence = Evidence(score(1.0, count=50), None, targets, [], ("even", "odd"), 1)

    assert decide(evidence, GateSpec()).flawed


def test_a_gain_that_chance_gives_is_refused_with_its_probability() -> None:
    decision = gate(0.92, 0.90, count=100, significance=0.2)

    assert not decision.promote
    assert "p = 0.250 (exact McNemar): over 0.2" in decision.reason
    assert (decision.numbers["gained"], decision.numbers["lost"]) == (2, 0)


def test_the_same_gain_on_more_samples_is_no_chance() -> None:
    assert gate(0.92, 0.90, count=1000, significance=0.01).promote


def test_mcnemars_exact_p_is_the_binomials_tail() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(8, 2) == pytest.approx(56 / 1024)
    assert mcnemar_p(6000, 5000) < 1e-9


def test_merits_of_a_regression_are_bootstrapped_and_repeatable() -> None:
    random = np.random.default_rng(3)
    champion = random.normal(0.5, 0.1, 400)
    better, same = champion + random.normal(0.05, 0.1, 400), champion + random.normal(0, 0.1, 400)

    paired = compare(better, champion, seed=1)

    assert paired.test == "paired bootstrap"
    assert paired.p_value < 0.01 < bootstrap_p(same - champion, seed=1)
    assert bootstrap_p(same - champion, seed=1) == bootstrap_p(same - champion, seed=1)


def test_a_class_that_falls_stops_a_challenger_that_is_better_on_the_whole() -> None:
    evidence = Evidence(
        challenger=Score((np.arange(1000) % 2).astype(float), np.ones(1000), np.zeros(1000, np.int64)),
        champion=Score((np.arange(1000) % 5 == 0).astype(float), np.ones(1000), np.zeros(1000, np.int64)),
        targets=halves(1000),
        weights=[],
        labels=("even", "odd"),
        seed=1,
    )

    decision = decide(evidence, GateSpec(significance=1))

    assert not decision.promote
    assert "class even fell from 0.200 to 0.000" in decision.reason
    assert decide(evidence, GateSpec(significance=1, class_drop_max=0.3)).promote
    assert decision.numbers["classes"]["odd"]["challenger"] == 1.0


def test_a_class_below_the_floor_stops_a_challenger() -> None:
    assert not gate(0.7, 0.6, class_floor=0.75).promote
    assert gate(0.7, 0.6, class_floor=0.65).promote


LOSSES = np.random.default_rng(1).exponential(0.3, 1000)


def by_loss(fell: float, *, wrong_more: int = 0, **further: Any) -> Decision:
    """The champion has 900 of 1,000 right; the challenger's losses are lower, by `fell` at most."""
    champion = Score(score(0.9).merits, LOSSES, halves(1000))
    lower = LOSSES - fell * np.random.default_rng(2).random(1000)
    challenger = Score(score(0.9 - wrong_more / 1000).merits, lower, halves(1000))
    evidence = Evidence(challenger, champion, halves(1000), [], ("even", "odd"), seed=1)
    return decide(evidence, GateSpec.model_validate({"metric": "loss", "class_drop_max": 1, **further}))


@pytest.mark.parametrize(("fell", "promoted"), [(0.02, True), (0.0, False), (-0.02, False)])
def test_by_loss_the_less_mistaken_one_is_better_at_the_same_accuracy(fell: float, promoted: bool) -> None:
    decision = by_loss(fell)

    assert decision.promote is promoted
    assert decision.reason.startswith("the loss fell from 0.3" if promoted else "loss 0.3")
    assert decision.numbers["metric"] == "loss"


def test_by_loss_a_gain_must_be_large_enough_and_more_than_chance() -> None:
    assert not by_loss(0.02, gain_min=0.02).promote
    assert by_loss(0.02, gain_min=0.005, significance=0.01).promote
    noisy = Score(score(0.9).merits, np.roll(LOSSES, 1) - 0.001, halves(1000))
    evidence = Evidence(
        noisy, Score(score(0.9).merits, LOSSES, halves(1000)), halves(1000), [], ("even", "odd"), seed=1
    )
    assert "chance alone gives" in decide(evidence, GateSpec(metric="loss", significance=0.05)).reason


def test_a_lower_loss_does_not_make_up_for_an_accuracy_that_surely_fell() -> None:
    assert by_loss(0.02, wrong_more=3).promote  # 3 of 1,000 may be chance
    dear = by_loss(0.02, wrong_more=20)

    assert not dear.promote
    assert "but accuracy fell from 0.9000 to 0.8800" in dear.reason


def test_by_loss_a_sample_that_both_miss_cannot_outweigh_a_hundred_others() -> None:
    before = np.full(1000, 0.05)
    after = np.full(1000, 0.04)
    before[0], after[0] = 3.0, 30.0  # a wrong label, of which the better model is surer

    champion, challenger = (Score(score(0.9).merits, each, halves(1000)) for each in (before, after))
    decision = decide(
        Evidence(challenger, champion, halves(1000), [], ("even", "odd"), seed=1), GateSpec(metric="loss")
    )

    assert challenger.loss > champion.loss
    assert decision.promote
    assert decision.numbers["gain"] == pytest.approx(0.00999)


def test_by_loss_the_squared_errors_of_a_regression_count_whole() -> None:
    def told(errors: float) -> Score:
        return Score(np.full(1000, 0.5), np.full(1000, errors), np.zeros(1000))

    measured = compare_by("loss", told(900.0), told(1000.0), seed=1)

    assert (measured.now, measured.then, measured.gain) == (900.0, 1000.0, 100.0)


def test_labels_that_the_champion_agrees_with_by_chance_only_look_shuffled() -> None:
    fine = agreement(score(0.8), score(0.95), chance=0.1, agreement_min=0.5)
    bad = agreement(score(0.12), score(0.95), chance=0.1, agreement_min=0.5)

    assert fine is not None
    assert bad is not None
    assert fine.doubt is None
    assert "12.0% of the new labels and with 95.0% of earlier ones" in (bad.doubt or "")


def test_few_samples_and_a_champion_without_skill_say_nothing_about_labels() -> None:
    assert agreement(score(0.1, count=19), score(0.95), chance=0.1, agreement_min=0.5) is None
    assert agreement(score(0.1), score(0.1), chance=0.1, agreement_min=0.5) is None


def test_a_content_on_both_sides_is_a_leak() -> None:
    def row(digest: str, role: Any) -> SampleRow:
        return SampleRow(digest, "object", 0, 0, "a", role, digest)

    assert leaked([row("1", "train")], [row("2", "validation")]) is None
    assert "both sides" in (leaked([row("1", "train")], [row("1", "validation")]) or "")
    assert "role test" in (leaked([row("1", "test")], [row("2", "validation")]) or "")


def test_the_reason_names_both_scores_and_the_samples() -> None:
    assert gate(0.92, 0.90).reason == "accuracy rose from 0.9000 to 0.9200 on 1000 validation samples"
    assert gate(0.90, 0.90).reason == (
        "accuracy 0.9000 is not 0.01 above the champion's 0.9000 on 1000 validation samples"
    )
